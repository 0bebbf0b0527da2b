import contextlib
import subprocess
import sys

import numpy as np
import pytest
from npe2 import PluginManifest

from napari_ctc.data.channels import FLAT
from napari_ctc.data.drawn import CHANNELS
from napari_ctc.data.formats import READERS
from napari_ctc.data.specimens import Layout
from napari_ctc.errors import CTCError, ManifestError, SettingsError, SpecimenError
from napari_ctc.gui import layers, preferences
from napari_ctc.gui.layers import KEY, PATTERNS, choose_colormaps, get_reader

RNG = np.random.default_rng(7)


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)
    return path


def specimens(number, height=20, width=22, channels=4):
    return RNG.integers(0, 255, (number, height, width, channels)).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    for number, specimen in enumerate(specimens(5)):
        save(tmp_path / f"set/{number}.npy", specimen)
    return tmp_path / "set"


def shown(viewer):
    """Return what the canvas shows of each layer, by name, as drawn."""
    return {layer.name: np.asarray(layer._slice.image.raw) for layer in viewer.layers}


# ------------------------------------------------------------------------------- without a window


def test_the_manifest_names_every_format_that_is_read():
    manifest = PluginManifest.from_file(layers.__file__.replace("layers.py", "../napari.yaml"))
    (reader,) = manifest.contributions.readers
    assert tuple(reader.filename_patterns) == PATTERNS
    assert {f"*{suffix}" for suffix in READERS} | {"*.csv"} == set(PATTERNS)
    assert reader.accepts_directories


def test_the_reader_declines_only_what_is_not_its_own(tmp_path):
    assert get_reader("picture.tif") is None
    assert get_reader(["a.npy", "b.tif"]) is None
    assert get_reader(["a.csv", "b.csv"]) is None
    assert get_reader([]) is None
    for ours in (
        "a.npy",
        "A.NPY",
        "labels.csv",
        str(tmp_path),
        ["a.npy", "b.npy"],
        ["labels.csv"],
        [str(tmp_path)],
    ):
        assert callable(get_reader(ours))


def test_opening_files_imports_no_torch(folder):
    program = f"""
import sys
from napari_ctc.gui.layers import get_reader
assert len(get_reader({str(folder)!r})({str(folder)!r})) == 4
assert "torch" not in sys.modules and "sklearn" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


WRONG = {
    "ambiguous": (np.zeros((4, 9, 4)), "--channel-axis at a terminal"),
    "three channels": (np.zeros((8, 9, 3)), "another number of channels"),
    "complex": (np.zeros((8, 9, 4), complex), "complex"),
    "structured": (np.zeros((8, 9, 4), [("a", "f4")]), "real numbers"),
    "no pixels": (np.zeros((0, 9, 4)), "no pixels"),
    "not a number": (np.full((8, 9, 4), np.nan), "not numbers"),
    "a stack of nothing else": (np.full((3, 8, 9, 4), np.nan), "not numbers.*all 3 that were tried"),
    "objects": (np.array([[None]]), "Python objects"),
    "empty": (b"", "is empty"),
    "text": (b"hello, this is a text", "not a NumPy file"),
    "torn": (b"\x93NUMPY\x01\x00v\x00{'descr': '<f8'", "damaged header"),
}


@pytest.mark.parametrize(("content", "reason"), WRONG.values(), ids=WRONG)
def test_a_wrong_file_is_accepted_and_then_refused_in_words(tmp_path, content, reason):
    path = tmp_path / "bad.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content)
    read = get_reader(str(path))
    with pytest.raises(SpecimenError, match=rf"bad\.npy .*{reason}"):
        read(str(path))


def test_a_table_that_is_no_manifest_is_refused_in_words(tmp_path):
    path = tmp_path / "points.csv"
    path.write_text("index,axis-0,axis-1\n0,1,2\n")
    with pytest.raises(ManifestError, match=r"points\.csv, line 1: no column is called 'path'"):
        get_reader(str(path))(str(path))


def test_colormaps_are_distinct_and_bright_field_is_gray():
    assert choose_colormaps(CHANNELS) == ["blue", "green", "red", "gray"]
    assert choose_colormaps(["Channel 1", "Channel 2", "Channel 3", "Channel 4"]) == [
        "blue",
        "green",
        "red",
        "gray",
    ]
    assert choose_colormaps(["Brightfield", "a", "b", "c"]) == ["gray", "blue", "green", "red"]
    assert choose_colormaps(["a"]) == ["gray"]
    for names in (("a",) * 7, ("transmitted", *"abcdef")):
        assert len(set(choose_colormaps(names))) == 7
    assert len(choose_colormaps("a" * 64)) == 64


# ---------------------------------------------------------------------------------- in a window


def test_one_file_is_four_additive_images_named_by_channel(make_napari_viewer, tmp_path):
    (specimen,) = specimens(1)
    specimen[..., 2] = 7
    path = save(tmp_path / "cell.npy", specimen)
    viewer = make_napari_viewer()
    opened = viewer.open(path, plugin="napari-ctc")
    assert [layer.name for layer in opened] == ["Channel 4", "Channel 3", "Channel 2", "Channel 1"]
    assert {layer.colormap.name for layer in opened} == {"blue", "green", "red", "gray"}
    for layer in opened:
        channel = layer.metadata[KEY]["channel"]
        assert layer.blending == "additive" and not layer.rgb and layer.visible
        assert layer.axis_labels == ("y", "x")
        np.testing.assert_array_equal(layer.data, specimen[..., channel])
        assert layer.source.reader_plugin == "napari-ctc"
    assert opened[1].contrast_limits == [7, 8]
    assert viewer.dims.ndim == 2


def test_a_folder_is_one_lazy_stack_a_channel_and_a_step_reads_one_file(make_napari_viewer, folder):
    viewer = make_napari_viewer()
    opened = viewer.open(folder, plugin="napari-ctc")
    assert [layer.data.shape for layer in opened] == [(5, 20, 22)] * 4
    assert viewer.dims.axis_labels == ("specimen", "y", "x")
    (stack,) = {id(layer.metadata[KEY]["stack"]): layer.metadata[KEY]["stack"] for layer in opened}.values()
    for step in (3, 1, 4):
        before = stack.reads
        viewer.dims.set_current_step(0, step)
        expected = np.load(folder / f"{step}.npy")
        for name, image in shown(viewer).items():
            np.testing.assert_array_equal(image, expected[..., int(name[-1]) - 1])
        assert stack.reads == before + 1


def test_a_stack_file_several_files_and_a_manifest_show_the_same(make_napari_viewer, folder, tmp_path):
    viewer = make_napari_viewer()
    files = [folder / f"{number}.npy" for number in (4, 2, 0)]
    whole = np.stack([np.load(file) for file in files])
    save(tmp_path / "stack.npy", whole.astype(">u2"))
    (tmp_path / "labels.csv").write_text("path,label\n" + "".join(f"set/{n}.npy,x\n" for n in (4, 2, 0)))
    for path, stack in ((tmp_path / "stack.npy", False), (files, True), (tmp_path / "labels.csv", False)):
        viewer.open(path, stack=stack, plugin="napari-ctc")
        viewer.dims.set_current_step(0, 1)
        assert viewer.layers[0].data.shape == (3, 20, 22)
        for name, image in shown(viewer).items():
            np.testing.assert_array_equal(image, whole[1][..., int(name[-1]) - 1])
        viewer.layers.clear()


def test_drawn_samples_open_with_their_channels_named_and_bright_field_lowest(make_napari_viewer):
    viewer = make_napari_viewer()
    viewer.open_sample("napari-ctc", "specimen")
    assert [layer.name for layer in viewer.layers] == ["bright field", "CD45", "cytokeratin", "DAPI"]
    assert [layer.visible for layer in viewer.layers] == [False, True, True, True]
    assert [layer.colormap.name for layer in viewer.layers] == ["gray", "red", "green", "blue"]
    viewer.layers.clear()
    viewer.open_sample("napari-ctc", "folder")
    stack = viewer.layers[0].metadata[KEY]["stack"]
    assert stack.shape == (300, 224, 224) and stack.channel_names == CHANNELS
    assert stack.manifest.counts().sum() == 300
    assert viewer.layers[3].name == "DAPI"


def test_an_unreadable_specimen_is_told_once_and_the_slider_lives_on(make_napari_viewer, folder):
    from napari.utils.notifications import notification_manager

    viewer = make_napari_viewer()
    viewer.open(folder, plugin="napari-ctc")
    (folder / "2.npy").write_bytes(b"torn by a copy that broke off")
    notification_manager.records.clear()
    for step in (3, 2, 3, 2):
        viewer.dims.set_current_step(0, step)
        assert all((image.any() != (step == 2)) for image in shown(viewer).values())
    assert [str(record.message) for record in notification_manager.records] == [
        "2.npy is not a NumPy file, whatever its name says. Save the specimen with numpy.save."
    ]


def test_what_is_padded_for_the_view_is_said(make_napari_viewer, folder):
    from napari.utils.notifications import notification_manager

    save(folder / "small.npy", specimens(1, 8, 9)[0])
    viewer = make_napari_viewer()
    notification_manager.records.clear()
    viewer.open(folder, plugin="napari-ctc")
    assert "from 8 x 9 up to 20 x 22" in str(notification_manager.records[-1].message)


def test_the_reason_of_a_refusal_reaches_the_person(make_napari_viewer, tmp_path, monkeypatch):
    from napari._qt import qt_viewer as napari_qt_viewer

    from napari_ctc.gui.opening import make_default_reader

    path = save(tmp_path / "bad.npy", np.zeros((8, 9, 3)))
    viewer = make_napari_viewer()
    with pytest.raises(SpecimenError, match="another number of channels"):
        viewer.open(path, plugin="napari-ctc")
    make_default_reader()
    told = []
    monkeypatch.setattr(napari_qt_viewer, "handle_gui_reading", lambda *found, **_: told.append(str(found[4])))
    viewer.window._qt_viewer._qt_open([str(path)], stack=False)
    assert "bad.npy holds an array of shape (8, 9, 3); a specimen needs 4 channels" in told[0]


def test_preferences_set_channels_axis_and_names(make_napari_viewer, tmp_path):
    path = save(tmp_path / "three.npy", np.zeros((3, 9, 3), np.uint8))
    viewer = make_napari_viewer()
    preferences.set_preferences(Layout(3, "first"), ["DNA", "actin ", "phase"])
    viewer.open(path, plugin="napari-ctc")
    assert [layer.name for layer in viewer.layers] == ["phase", "actin", "DNA"]
    assert viewer.layers[0].data.shape == (9, 3)
    with pytest.raises(SettingsError, match="2 channel names for 3"):
        preferences.set_preferences(Layout(3), ["DNA", "actin"])
    preferences.set_preferences(Layout(), [])
    assert preferences.preferred_names() is None and preferences.preferred_layout() == Layout()


def test_a_duplicated_layer_shares_the_stack(make_napari_viewer, folder):
    from napari.layers._layer_actions import _duplicate_layer

    viewer = make_napari_viewer()
    viewer.open(folder, plugin="napari-ctc")
    viewer.layers.selection = {viewer.layers[0]}
    _duplicate_layer(viewer.layers)
    first, copy = viewer.layers[0], viewer.layers[1]
    assert copy.name == "Channel 4 copy"
    assert copy.data.stack is first.data.stack


def test_other_axes_show_the_right_pixels(make_napari_viewer, folder):
    viewer = make_napari_viewer()
    viewer.open(folder, plugin="napari-ctc")
    whole = np.stack([np.load(folder / f"{number}.npy") for number in range(5)])
    viewer.dims.order = (1, 0, 2)
    viewer.dims.set_current_step(1, 6)
    np.testing.assert_array_equal(shown(viewer)["Channel 2"], whole[:, 6, :, 1])


def open_by_hand(viewer, folder):
    layers.add_stack(viewer, layers.Manifest.open(folder))


def open_as_napari_does(viewer, folder):
    viewer.open(folder, plugin="napari-ctc")


def drop(viewer, folder):
    viewer.window._qt_viewer._qt_open([str(folder)], stack=False, plugin="napari-ctc")


@pytest.mark.parametrize("how", [open_by_hand, open_as_napari_does, drop])
def test_the_3d_button_reads_no_file_and_the_view_stays_flat(make_napari_viewer, folder, how):
    from napari.utils.notifications import notification_manager

    make_napari_viewer()  # another window, opened before
    viewer = make_napari_viewer()
    how(viewer, folder)
    assert viewer.dims.current_step[0] == 0  # napari itself would begin in the middle
    how(viewer, folder)
    viewer.dims.set_current_step(0, 3)
    stacks = [layers.stack_of(viewer.layers[place])[0] for place in (0, -1)]
    before = [stack.reads for stack in stacks]
    notification_manager.records.clear()
    button = viewer.window._qt_viewer.viewerButtons.ndisplayButton
    for presses in (1, 2):
        button.click()
        assert viewer.dims.ndisplay == 2 and not button.isChecked()
        assert [str(record.message) for record in notification_manager.records] == [FLAT] * presses
    assert [stack.reads for stack in stacks] == before
    assert viewer.dims.current_step[0] == 3
    viewer.layers.clear()
    viewer.add_image(np.zeros((4, 5, 6)))
    button.click()
    assert viewer.dims.ndisplay == 3  # what has a depth is shown with it
    how(viewer, folder)
    assert viewer.dims.ndisplay == 2
    assert layers.stack_of(viewer.layers[-1])[0].reads <= 2


def test_the_viewer_that_is_watched_is_let_go(drawn_manifest):
    import gc
    import weakref

    from napari.components import ViewerModel

    before = len(layers._watched)
    viewer = ViewerModel()
    layers.watch(viewer)
    layers.watch(viewer)
    assert len(layers._watched) == before + 1
    layers.add_stack(viewer, drawn_manifest)
    viewer.dims.ndisplay = 3
    assert viewer.dims.ndisplay == 2
    gone = weakref.ref(viewer)
    del viewer
    gc.collect()
    assert gone() is None
    assert len(layers._watched) <= before


def test_adding_a_stack_by_hand_gives_named_layers(make_napari_viewer, drawn_manifest):
    viewer = make_napari_viewer()
    added = layers.add_stack(viewer, drawn_manifest, CHANNELS)
    assert [layer.name for layer in added] == ["bright field", "CD45", "cytokeratin", "DAPI"]
    stack, channel = layers.stack_of(added[-1])
    assert stack.manifest is drawn_manifest and channel == 0
    viewer.add_points()
    assert layers.stack_of(viewer.layers[-1]) is None


def test_every_error_of_the_reader_is_one_a_person_may_see(tmp_path):
    for content in (b"", b"\x93NUMPY" + bytes(200), bytes(range(256))):
        (tmp_path / "a.npy").write_bytes(content)
        with contextlib.suppress(CTCError):
            get_reader(str(tmp_path / "a.npy"))(str(tmp_path / "a.npy"))
            pytest.fail("it was opened")


def test_an_unnamed_bright_field_is_hidden_and_lowest_and_fluorescence_never_is(
    make_napari_viewer, drawn_folder, tmp_path
):
    viewer = make_napari_viewer()
    for path in (drawn_folder, drawn_folder / layers.Manifest.open(drawn_folder).keys[0]):
        viewer.open(path, plugin="napari-ctc")
        assert [(layer.name, layer.visible) for layer in viewer.layers] == [
            ("Channel 4", False),
            ("Channel 3", True),
            ("Channel 2", True),
            ("Channel 1", True),
        ]
        viewer.layers.clear()
    whole = np.stack([np.load(path) for path in sorted(drawn_folder.rglob("*.npy"))[:8]])
    for order, hidden in (([3, 0, 1, 2], ["Channel 1"]), ([0, 1, 2, 0], []), ([3, 3, 0, 1], [])):
        save(tmp_path / "stack.npy", whole[..., order])
        viewer.open(tmp_path / "stack.npy", plugin="napari-ctc")
        assert [layer.name for layer in viewer.layers if not layer.visible] == hidden
        assert not hidden or viewer.layers[0].colormap.name == "gray"
        viewer.layers.clear()
