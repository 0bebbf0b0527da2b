"""Layers that napari makes of ours, by its own menu: which of them show specimens, and what becomes of labels."""

import pytest

pytest.importorskip("napari")
from labelling_steps import name_classes, open_dock, press, settled, shown
from napari.layers import Labels
from napari.layers import _layer_actions as menu

from napari_ctc.gui.stage import stack_of


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer(show=True)


@pytest.fixture
def dock(viewer, qtbot, folder):
    return open_dock(viewer, qtbot, folder)


def test_a_projection_takes_no_labels_and_leaves_the_slider_its_specimen(viewer, dock, qtbot):
    name_classes(qtbot, dock)
    session = dock.session
    session.go_to(20)
    menu._project(viewer.layers, axis=0, mode="max")
    projection = viewer.layers[-1]
    viewer.layers.selection.active = projection
    assert projection.ndim == 2 and "napari_ctc" in projection.metadata
    assert session.current == 20
    press(qtbot, viewer.window._qt_viewer.canvas.native, "1")
    settled(qtbot, dock)
    assert list(shown(dock)) == [session.rows.name[20]]
    assert projection.visible  # it is the person's own
    viewer.dims.set_current_step(0, 30)
    assert session.current == 30


@pytest.mark.parametrize("single", [False, True])
def test_labels_made_of_a_channel_are_no_channel_any_more(viewer, dock, folder, qtbot, single):
    if single:
        viewer.layers.clear()
        viewer.open(str(next(folder.rglob("*.npy"))), plugin="napari-ctc")
        settled(qtbot, dock)
    count = len(dock.session)
    viewer.layers.selection = {viewer.layers[0]}
    with pytest.warns(UserWarning, match="projection mode"):
        menu._convert(viewer.layers, "labels")
    assert isinstance(viewer.layers[0], Labels) and "napari_ctc" in viewer.layers[0].metadata
    assert stack_of(viewer.layers[0]) is None
    looks, stack = dock.views.gallery.thumbnails._looks, dock.session.stacks[0]
    changed = viewer.layers[-1]
    channel = changed.metadata["napari_ctc"]["channel"]
    changed.contrast_limits = (3, 7)
    qtbot.waitUntil(lambda: tuple(looks.of(stack).limits[channel]) == (3, 7))  # thumbnails follow the others
    assert len(dock.session) == count and dock.session.current == 0


def test_a_duplicate_shows_the_same_specimens(viewer, dock, qtbot):
    viewer.layers.selection = {viewer.layers[-1]}
    menu._duplicate_layer(viewer.layers)
    twin = viewer.layers[-1]
    assert twin.name.endswith(" copy")
    for layer in viewer.layers[:-1]:
        viewer.layers.remove(layer)
    assert len(dock.session) == 60
    dock.session.go_to(9)
    assert viewer.dims.current_step[0] == 9
    viewer.layers.remove(twin)
    assert len(dock.session) == 0
