"""The session without a window: what it makes of layers, a slider, a classifier and its words."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("napari")
from napari.components import ViewerModel

from napari_ctc.data.channels import ChannelView
from napari_ctc.data.manifest import COLUMNS, Manifest
from napari_ctc.data.specimens import Layout
from napari_ctc.gui.exported import predictions_of
from napari_ctc.gui.predicted_filter import Filter
from napari_ctc.gui.predicted_order import BY_PREDICTION, Order, sort_key
from napari_ctc.gui.rows import Status
from napari_ctc.gui.session import session_of
from napari_ctc.gui.speakers import HEAD, HeadWords, InstantHead


@dataclass(eq=False)
class Stack:
    """Of a `SpecimenStack` the session needs the manifest alone; its pictures are blank."""

    manifest: Manifest
    channels: int
    side: int
    dtype = np.dtype(np.uint8)

    @property
    def shape(self):
        return len(self.manifest), self.side, self.side

    def frame(self, row):
        return np.zeros((self.channels, self.side, self.side), self.dtype)


@dataclass(frozen=True)
class Said:
    """What the session needs of a classifier."""

    digest: str = "a" * 16
    classes: tuple[str, ...] = ("debris", "tumour cell")
    channel_count: int = 4
    counts: dict[str, int] = field(default_factory=dict)

    def described(self):
        return {"decision": "balanced", "proportions": "debris=0.9, tumour cell=0.1", "calibrated": "debris"}


def manifest_of(count, root="/data", labels=None, channels=4):
    blank = [""] * count
    table = dict.fromkeys(COLUMNS, blank) | {
        "path": [f"cell_{number}.npy" for number in range(count)],
        "label": labels or blank,
        "source": ["slide_1"] * count,
    }
    return Manifest(pd.DataFrame(table, dtype="str"), Path(root), Layout(channels))


def show(viewer, manifest, channels=2, side=8):
    stack = Stack(manifest, channels, side)
    for channel in range(channels):
        view = ChannelView(stack, channel)
        viewer.add_image(
            view if len(manifest) > 1 else view[0], metadata={"napari_ctc": {"stack": stack, "channel": channel}}
        )
    return stack


def words(manifest, classifier, predicted):
    """A table as the job `classify` makes it."""
    table = pd.DataFrame({"path": manifest.keys, "source": "", "predicted": predicted, "probability": 0.75})
    for name in classifier.classes:
        table[f"p_{name}"] = np.where(table["predicted"] == name, 0.75, 0.25)
    return table.assign(
        label="",
        error="",
        classifier=classifier.digest,
        precision="float32",
        bytes=pd.array([100] * len(table), "Int64"),
        modified="2024-01-01T00:00:00+00:00",
        sha256="",
    )


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def session(viewer):
    return session_of(viewer)


def test_a_viewer_has_one_session(viewer):
    assert session_of(viewer) is session_of(viewer)
    assert session_of(ViewerModel()) is not session_of(viewer)


def test_the_session_holds_each_specimen_once_however_many_channels_show_it(viewer, session):
    show(viewer, manifest_of(5), channels=4)
    show(viewer, manifest_of(3, "/other"), channels=4)
    viewer.add_image(np.zeros((9, 9)))
    assert len(session) == 8
    assert session.specimens[5][1] == 0


def test_specimens_opened_before_the_session_are_in_it(viewer):
    show(viewer, manifest_of(4))
    assert len(session_of(viewer)) == 4


def test_removing_the_last_channel_of_a_set_drops_its_rows_and_keeps_the_others(viewer, session):
    show(viewer, manifest_of(5))
    show(viewer, manifest_of(3, "/other"))
    session.classifier = Said()
    session.accept(session.rows.ids[5:], words(manifest_of(3), Said(), ["debris"] * 3))
    del viewer.layers[0]
    assert len(session) == 8
    del viewer.layers[0]
    assert len(session) == 3
    assert list(session.status) == [Status.CURRENT] * 3


def test_reordering_layers_takes_the_predictions_along(viewer, session):
    show(viewer, manifest_of(2), channels=1)
    show(viewer, manifest_of(3, "/other"), channels=1)
    session.classifier = Said()
    session.accept(session.rows.ids[:2], words(manifest_of(2), Said(), ["debris", "tumour cell"]))
    viewer.layers.move(0, 2)
    assert [session.classes[code] if code >= 0 else "" for code in session.rows.predicted] == [
        "", "", "", "debris", "tumour cell",
    ]  # fmt: skip


def test_the_slider_and_the_session_name_the_same_specimen(viewer, session):
    show(viewer, manifest_of(5))
    seen = []
    session.current_changed.connect(seen.append)
    viewer.dims.set_current_step(0, 3)
    assert session.current == 3
    session.go_to(1)
    assert viewer.dims.current_step[0] == 1
    assert seen == [3, 1]


def test_going_to_a_specimen_of_another_set_shows_that_set_alone(viewer, session):
    show(viewer, manifest_of(1))
    viewer.layers[0].visible = False
    show(viewer, manifest_of(1, "/other"))
    show(viewer, manifest_of(4, "/third"))
    session.go_to(1)
    assert [layer.visible for layer in viewer.layers] == [False, False, True, True, False, False]
    session.go_to(0)
    assert [layer.visible for layer in viewer.layers] == [False, True, False, False, False, False]
    session.go_to(4)
    assert session.current == 4
    assert viewer.dims.current_step[0] == 2


def test_the_set_that_the_labels_go_to_is_alone_on_the_canvas(viewer, session):
    """Two specimens added up are no specimen, and the one that is named would not be the one that is seen."""
    show(viewer, manifest_of(4))
    viewer.layers[0].visible = False
    show(viewer, manifest_of(3, "/other"))
    assert session.current >= 4
    assert [layer.visible for layer in viewer.layers] == [False, False, True, True]
    viewer.layers.selection.active = viewer.layers[1]
    assert 0 <= session.current < 4
    assert [layer.visible for layer in viewer.layers] == [False, True, False, False]
    viewer.layers[3].visible = True  # by hand
    viewer.dims.set_current_step(0, 2)
    assert viewer.layers[3].visible


def test_a_set_that_was_hidden_comes_back_when_the_other_is_closed(viewer, session):
    show(viewer, manifest_of(4))
    show(viewer, manifest_of(3, "/other"))
    session.go_to(0)
    assert [layer.visible for layer in viewer.layers] == [True, True, False, False]
    for layer in viewer.layers[:2]:
        viewer.layers.remove(layer)
    assert [layer.visible for layer in viewer.layers] == [True, True]


def test_specimens_of_another_size_are_brought_into_view(viewer, session):
    show(viewer, manifest_of(4))
    viewer.reset_view()
    before = viewer.scene.camera.zoom
    show(viewer, manifest_of(3, "/other"), side=80)
    assert viewer.scene.camera.zoom == pytest.approx(before / 10, rel=0.05)


def test_a_layer_with_a_scale_does_not_confuse_the_slider(viewer, session):
    show(viewer, manifest_of(6))
    for layer in viewer.layers:
        layer.scale = (2, 1, 1)
    session.go_to(4)
    assert session.current == 4
    viewer.dims.set_point(0, 6)
    assert session.current == 3


def test_a_prediction_is_current_until_the_classifier_changes_and_never_after(viewer, session):
    manifest = manifest_of(2)
    show(viewer, manifest)
    assert list(session.status) == [Status.NONE] * 2
    session.classifier = first = Said()
    assert list(session.status) == [Status.PENDING] * 2
    session.accept(session.rows.ids, words(manifest, first, ["debris", "tumour cell"]))
    assert list(session.status) == [Status.CURRENT] * 2
    session.classifier = second = Said(digest="b" * 16)
    assert list(session.status) == [Status.STALE] * 2
    assert "aaaaaaaa" in session.reason(0) and "bbbbbbbb" in session.reason(0)
    session.accept(session.rows.ids[:1], words(manifest, second, ["debris", "debris"]).iloc[:1])
    assert list(session.status) == [Status.CURRENT, Status.STALE]
    session.classifier = None
    assert Status.CURRENT not in session.status


def test_a_classifier_that_comes_back_is_asked_again_for_the_probabilities_that_were_dropped(viewer, session):
    manifest = manifest_of(3)
    show(viewer, manifest)
    session.classifier = first = Said()
    said = words(manifest, first, ["debris", "tumour cell", "debris"])
    session.accept(session.rows.ids, said)
    failed = said.iloc[2:].assign(predicted="", probability=np.nan, p_debris=np.nan, error="It is empty.")
    failed["p_tumour cell"] = np.nan
    session.accept(session.rows.ids[2:], failed)
    session.classifier = Said(digest="b" * 16)
    session.classifier = first
    assert list(session.status) == [Status.STALE, Status.STALE, Status.FAILED]
    assert session.reason(0) == (
        "Its class probabilities went when another classifier came; it will be classified again."
    )
    assert session.reason(2) == "It is empty."
    assert list(predictions_of(session).table["predicted"]) == [""] * 3
    session.hear(heard(session, [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]]))
    session.show_speaker(HEAD)
    assert set(session.status) == {Status.CURRENT}
    session.accept(session.rows.ids, said)
    assert set(session.classified) == {Status.CURRENT}


def test_a_network_whose_probabilities_are_no_numbers_is_not_asked_for_ever(viewer, session):
    manifest = manifest_of(1)
    show(viewer, manifest)
    session.classifier = Said()
    broken = words(manifest, Said(), ["debris"]).assign(probability=np.nan, p_debris=np.nan)
    session.accept(session.rows.ids, broken)
    assert list(session.status) == [Status.CURRENT]


def test_words_of_an_earlier_classifier_that_come_late_are_dropped(viewer, session):
    manifest = manifest_of(2)
    show(viewer, manifest)
    session.classifier = Said(digest="b" * 16)
    session.accept(session.rows.ids, words(manifest, Said(), ["debris", "debris"]))
    assert list(session.status) == [Status.PENDING] * 2


def test_words_on_a_specimen_closed_meanwhile_are_dropped(viewer, session):
    show(viewer, manifest_of(2))
    ids = session.rows.ids
    session.classifier = Said()
    viewer.layers.clear()
    show(viewer, manifest_of(2, "/other"))
    session.accept(ids, words(manifest_of(2), Said(), ["debris", "debris"]))
    assert list(session.status) == [Status.PENDING] * 2


def test_a_changed_file_makes_its_prediction_stale(viewer, session):
    manifest = manifest_of(2)
    show(viewer, manifest)
    session.classifier = Said()
    session.accept(session.rows.ids, words(manifest, Said(), ["debris", "debris"]))
    session.mark_changed(session.rows.ids[1:])
    assert list(session.status) == [Status.CURRENT, Status.STALE]
    assert "file changed" in session.reason(1)


def test_a_classifier_for_other_channels_fails_in_words(viewer, session):
    show(viewer, manifest_of(1, channels=3))
    session.classifier = Said()
    assert list(session.status) == [Status.FAILED]
    assert session.reason(0) == "The classifier needs 4 channels and this specimen has 3."


def test_classes_of_an_old_classifier_stay_readable_under_the_new_one(viewer, session):
    manifest = manifest_of(2, labels=["odd", ""])
    show(viewer, manifest)
    session.classifier = Said()
    session.accept(session.rows.ids, words(manifest, Said(), ["debris", "tumour cell"]))
    session.classifier = Said(digest="b" * 16, classes=("x", "y", "z"))
    assert session.classes[:3] == ("x", "y", "z")
    assert [session.classes[code] for code in session.rows.predicted] == ["debris", "tumour cell"]
    assert session.classes[session.rows.label[0]] == "odd"
    assert np.isnan(session.rows.probabilities).all()


def test_the_manifest_of_sets_in_different_folders_has_whole_paths(viewer, session):
    show(viewer, manifest_of(2, labels=["debris", ""]))
    assert session.manifest().keys == ["cell_0.npy", "cell_1.npy"]
    show(viewer, manifest_of(1, "/other", labels=["tumour cell"]))
    assert [Path(key).is_absolute() for key in session.manifest().keys] == [True] * 3
    assert session.manifest(np.array([2, 0])).keys[1].endswith("data/cell_0.npy")
    assert list(session.labelled_later()().table["label"]) == ["debris", "tumour cell"]


def test_the_files_of_all_sets_are_looked_at_however_many_channels_they_have(viewer, session):
    show(viewer, manifest_of(1, "/data"))
    manifest = manifest_of(2, "/other", channels=3)
    show(viewer, replace(manifest, table=manifest.table.assign(path=["a.npy#0", "a.npy#1"])))
    found = session.paths_later(np.array([2, 0, 1]))()
    assert [Path(one) for one in found] == [Path("/other/a.npy"), Path("/data/cell_0.npy"), Path("/other/a.npy")]


def test_a_labelled_specimen_opened_twice_counts_once(viewer, session):
    show(viewer, manifest_of(2, labels=["debris", ""]))
    show(viewer, manifest_of(2, labels=["debris", ""]))
    assert len(session.labelled_later()()) == 1


def test_exported_predictions_are_the_current_ones_and_say_why_others_are_missing(viewer, session):
    manifest = manifest_of(3, labels=["debris", "", ""])
    show(viewer, manifest)
    session.classifier = Said()
    session.accept(session.rows.ids, words(manifest, Said(), ["debris", "tumour cell", "debris"]))
    session.mark_changed(session.rows.ids[2:])
    table = predictions_of(session).table
    assert list(table["path"]) == manifest.keys
    assert list(table["predicted"]) == ["debris", "tumour cell", ""]
    assert list(table["label"]) == ["debris", "", ""]
    assert list(table["bytes"][:2]) == [100, 100]
    assert list(table["proportions"]) == ["debris=0.9, tumour cell=0.1"] * 2 + [""]
    assert "changed" in table["error"][2]
    assert np.isnan(table["p_debris"][2])


def test_a_file_opened_twice_is_exported_once_its_current_row_first_with_its_label(viewer, session):
    manifest = manifest_of(3, labels=["debris", "", ""])
    show(viewer, manifest)
    again = show(viewer, manifest_of(2))
    session.classifier = Said()
    session.attach(again, words(again.manifest, Said(), ["tumour cell", "debris"]))
    table = predictions_of(session).table
    assert sorted(table["path"]) == manifest.keys
    assert dict(zip(table["path"], table["predicted"], strict=True)) == {
        "cell_0.npy": "tumour cell",
        "cell_1.npy": "debris",
        "cell_2.npy": "",
    }
    assert dict(zip(table["path"], table["label"], strict=True))["cell_0.npy"] == "debris"


def test_an_error_of_an_earlier_classifier_is_no_reason_for_one_that_does_not_fit(viewer, session):
    manifest = manifest_of(1)
    show(viewer, manifest)
    session.classifier = Said()
    session.accept(session.rows.ids, words(manifest, Said(), [""]).assign(error="cut short"))
    session.classifier = Said(digest="b" * 16, channel_count=3)
    assert session.reason(0) == "The classifier needs 3 channels and this specimen has 4."


def heard(session, probabilities, labels=3):
    head = InstantHead("h" * 16, ("debris", "tumour cell"), 4, labels, 254, "", (0, 1))
    return HeadWords(head, np.sort(session.rows.ids), np.array(probabilities, np.float32))


def test_the_instant_head_speaks_by_itself_until_a_classifier_does_and_may_be_chosen_again(viewer, session):
    manifest = manifest_of(3, labels=["debris", "tumour cell", ""])
    show(viewer, manifest)
    changed = []
    session.speaker_changed.connect(lambda: changed.append(session.speaking))
    session.hear(heard(session, [[0.9, 0.1], [0.2, 0.8], [np.nan, np.nan]]))
    assert [session.classes[code] for code in session.shown.predicted[:2]] == ["debris", "tumour cell"]
    assert list(session.status) == [Status.CURRENT, Status.CURRENT, Status.PENDING]
    assert "instant head (3 labels, 254 measurements)" in session.reason(0)
    table = predictions_of(session).table
    assert list(table["classifier"]) == ["instant head (3 labels, 254 measurements)"] * 2 + [""]
    assert list(table["predicted"]) == ["debris", "tumour cell", ""]
    assert table["p_tumour cell"][1] == np.float32(0.8) and table["bytes"].isna().all()

    session.classifier = Said()
    assert list(session.status) == [Status.PENDING] * 3  # nothing of the head passes for the network's
    session.accept(session.rows.ids, words(manifest, Said(), ["debris"] * 3))
    assert list(predictions_of(session).table["classifier"]) == [Said().digest] * 3
    session.show_speaker(HEAD)
    assert list(session.shown.predicted[:2]) == [0, 1]
    assert list(session.classified) == [Status.CURRENT] * 3  # whoever is shown
    session.hear(None)
    assert list(session.shown.predicted) == [0, 0, 0]
    assert changed == ["head", "network", "head", "network"]


def test_a_hidden_prediction_is_in_no_column_that_views_see(viewer, session):
    show(viewer, manifest_of(3))
    session.name_classes(("debris", "tumour cell"), {})
    session.hear(heard(session, [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]]))
    session.conceal([session.rows.ids[1]])
    assert list(session.shown.predicted) == [0, -1, 1]
    assert list(np.isnan(session.shown.probability)) == [False, True, False]
    assert np.isnan(session.shown.probabilities[1]).all()
    for by in BY_PREDICTION:
        assert np.isnan(sort_key(Order(by, anchor=0), session.rows, session.shown)[1])  # comes last
    assert not Filter(predicted="class:tumour cell").passing(session.rows, session.classes, session.shown)[1]
    assert not Filter(least=0.1).passing(session.rows, session.classes, session.shown)[1]
    session.conceal_all(True)
    assert set(session.shown.predicted) == {-1}


def test_without_specimens_or_a_classifier_the_exported_table_is_empty(session):
    assert len(predictions_of(session)) == 0
    assert len(session.manifest()) == 0
    assert len(session.labelled_later()()) == 0
