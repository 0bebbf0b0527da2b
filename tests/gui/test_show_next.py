"""The queue in a real window, by keys: what comes next, what the journal says of it, and what is hidden."""

import json

import pytest

pytest.importorskip("napari")
from labelling_steps import TIME, name_classes, open_dock, press, settled
from qtpy.QtCore import Qt

from napari_ctc.data.drawn import write_drawn
from napari_ctc.data.journal_file import journal_path
from napari_ctc.data.manifest import Manifest
from napari_ctc.events import run
from napari_ctc.gui.predicted_model import PREDICTED, PROBABILITY
from napari_ctc.learn.loading import load_classifier


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer(show=True)


@pytest.fixture
def truth(own_folder):
    """The true classes by name; afterwards the folder is unlabelled."""
    manifest = Manifest.open(own_folder / "manifest.csv")
    (own_folder / "manifest.csv").unlink()
    return dict(zip(manifest.keys, manifest.table["label"], strict=True)), list(manifest.classes)


def measured(qtbot, dock, count):
    qtbot.waitUntil(lambda: dock.queue.measuring.done == count, timeout=TIME)
    qtbot.waitUntil(lambda: not dock.queue.measuring.running, timeout=TIME)


def label_by_queue(qtbot, dock, truth, classes, count):
    """Label what the queue brings by its true class; give the names in order."""
    seen = []
    for _ in range(count):
        seen.append(dock.session.rows.name[dock.session.current])
        press(qtbot, dock.table, str(classes.index(truth[seen[-1]]) + 1))
        settled(qtbot, dock)
    return seen


def picks(folder):
    lines = journal_path(folder / "labels.csv").read_text("utf-8").splitlines()
    entries = [json.loads(line) for line in lines]
    return [
        (one["picked"], one["prediction"], one.get("round", 0)) for one in entries if one["entry"] == "labelled"
    ]


def test_the_key_brings_one_after_the_other_and_the_journal_says_how(viewer, own_folder, truth, qtbot):
    labels, classes = truth
    dock = open_dock(viewer, qtbot, own_folder)
    name_classes(qtbot, dock, classes)
    measured(qtbot, dock, len(labels))
    press(qtbot, dock.queue.rare, "D")  # the class to look for: debris
    press(qtbot, dock.table, "N")
    settled(qtbot, dock)
    seen = label_by_queue(qtbot, dock, labels, classes, 15)
    assert len(set(seen)) == 15
    hows = [how for how, _, _ in picks(own_folder)]
    assert [place for place, how in enumerate(hows) if how == "random"] == [4, 9, 14]
    assert hows[0] == "unlike"  # nothing was known yet
    assert "rare" in hows[5:]
    # There is no classifier: once two classes have labels, the instant head predicts, and of a draw in secret.
    given = [labels[name] for name in seen]
    two = next(place for place, _ in enumerate(given, 1) if len(set(given[:place])) == 2)
    told = ["hidden" if how == "random" else "visible" for how in hows]
    assert [prediction for _, prediction, _ in picks(own_folder)] == ["none"] * two + told[two:]
    assert "debris hits in the last 15: " in dock.queue.text.text()
    assert "goes by 15 labels" in dock.queue.text.toolTip()

    press(qtbot, dock.table, ["Right", "1"])  # the person's own choice
    settled(qtbot, dock)
    assert picks(own_folder)[-1][0] == "chosen"


def test_space_puts_a_specimen_off(viewer, own_folder, truth, qtbot):
    labels, classes = truth
    dock = open_dock(viewer, qtbot, own_folder)
    name_classes(qtbot, dock, classes)
    measured(qtbot, dock, len(labels))
    press(qtbot, dock.table, "N")
    settled(qtbot, dock)
    first = dock.session.current
    press(qtbot, dock.table, ["Space"])
    settled(qtbot, dock)
    assert dock.session.current != first
    names = label_by_queue(qtbot, dock, labels, classes, 5)
    assert dock.session.rows.name[first] not in names
    assert len(picks(own_folder)) == 5


@pytest.mark.parametrize("what", ["undone", "renamed"])
def test_figures_of_labels_that_changed_are_not_told_any_more(viewer, own_folder, truth, qtbot, what):
    labels, classes = truth
    dock = open_dock(viewer, qtbot, own_folder)
    name_classes(qtbot, dock, classes)
    measured(qtbot, dock, len(labels))
    press(qtbot, dock.table, "N")
    settled(qtbot, dock)
    label_by_queue(qtbot, dock, labels, classes, 3)
    assert "hits in the last 3: " in dock.queue.text.text()
    if what == "undone":
        press(qtbot, dock.table, "Z", Qt.KeyboardModifier.ControlModifier)
    else:
        dock.labelling.rename(classes[-1], "CTC")
    settled(qtbot, dock)
    assert not dock.queue.text.text()
    press(qtbot, dock.table, "N")
    settled(qtbot, dock)
    assert f"hits in the last {2 if what == 'undone' else 3}: " in dock.queue.text.text()


def test_when_one_folder_is_done_the_queue_goes_on_with_the_next(viewer, tmp_path, qtbot):
    labels = {}
    for seed, name in enumerate(("first", "second")):
        run(write_drawn(tmp_path / name, 12, seed=seed, size=16))
        manifest = Manifest.open(tmp_path / name / "manifest.csv")
        labels[tmp_path / name] = dict(zip(manifest.keys, manifest.table["label"], strict=True))
        (tmp_path / name / "manifest.csv").unlink()
    classes = sorted({name for given in labels.values() for name in given.values()})
    dock = open_dock(viewer, qtbot, tmp_path / "first")
    viewer.open(str(tmp_path / "second"), plugin="napari-ctc")
    settled(qtbot, dock)
    name_classes(qtbot, dock, classes)
    measured(qtbot, dock, 24)
    session = dock.session
    session.go_to(0)
    press(qtbot, dock.table, "N")
    settled(qtbot, dock)
    late = session.current
    assert "fewest labels: " in dock.queue.rare.itemText(0)
    session.go_to(20)  # of the second folder, of which the turn says nothing
    assert dock.queue.rare.itemText(0) == "fewest labels"
    session.go_to(0)
    press(qtbot, dock.table, "N")
    settled(qtbot, dock)
    assert session.current == late
    press(qtbot, dock.table, ["Space"])  # put off until the others have been seen, of both folders
    settled(qtbot, dock)
    seen = []
    for _ in range(24):
        seen.append(session.current)
        stack, place = session.locate(session.current)
        truth = labels[stack.manifest.root][stack.keys[place]]
        press(qtbot, dock.table, str(classes.index(truth) + 1))
        settled(qtbot, dock)
    assert set(seen) == set(range(24)) and seen[-1] == late
    assert {one < 12 for one in seen[:11]} == {True}
    assert dock.queue.text.text().startswith("nothing is left to look at")
    assert sum(how == "chosen" for how, _, _ in picks(tmp_path / "second")) == 0


def test_what_is_drawn_at_random_is_judged_blind(viewer, own_folder, truth, small_classifier, qtbot):
    labels, classes = truth
    dock = open_dock(viewer, qtbot, own_folder)
    session = dock.session
    name_classes(qtbot, dock, classes)
    session.use(load_classifier(small_classifier), small_classifier)
    qtbot.waitUntil(lambda: (session.status == 2).all(), timeout=TIME)
    measured(qtbot, dock, len(labels))
    press(qtbot, dock.table, "N")
    settled(qtbot, dock)
    assert dock.model.text(session.current, PREDICTED)
    label_by_queue(qtbot, dock, labels, classes, 4)
    drawn = session.current
    assert not dock.model.text(drawn, PREDICTED)
    assert not dock.model.text(drawn, PROBABILITY)
    assert dock.model.predicted(drawn) == -1  # what the gallery goes by
    qtbot.waitUntil(lambda: "prediction hidden" in dock._canvas_text._overlay().text)
    label_by_queue(qtbot, dock, labels, classes, 1)
    assert dock.model.text(drawn, PREDICTED)  # it was judged
    assert [prediction for _, prediction, _ in picks(own_folder)] == [*["visible"] * 4, "hidden"]

    qtbot.mouseClick(dock.queue.hidden, Qt.MouseButton.LeftButton)
    assert not any(dock.model.text(one, PREDICTED) for one in range(len(session)))
    label_by_queue(qtbot, dock, labels, classes, 1)
    assert picks(own_folder)[-1][1] == "hidden"


def test_a_draw_that_was_left_or_put_off_stays_hidden_until_it_is_judged(
    viewer, own_folder, truth, small_classifier, qtbot
):
    labels, classes = truth
    dock = open_dock(viewer, qtbot, own_folder)
    session = dock.session
    name_classes(qtbot, dock, classes)
    session.use(load_classifier(small_classifier), small_classifier)
    qtbot.waitUntil(lambda: (session.status == 2).all(), timeout=TIME)
    measured(qtbot, dock, len(labels))
    press(qtbot, dock.table, "N")
    settled(qtbot, dock)
    label_by_queue(qtbot, dock, labels, classes, 4)
    drawn = session.current
    session.go_to(drawn - 1 if drawn else 1)  # as a click does
    assert dock.model.text(session.current, PREDICTED)
    assert not dock.model.text(drawn, PREDICTED)
    session.go_to(drawn)
    qtbot.waitUntil(lambda: "prediction hidden" in dock._canvas_text._overlay().text)
    press(qtbot, dock.table, "N")
    settled(qtbot, dock)
    assert session.current == drawn
    press(qtbot, dock.table, ["Space"])
    settled(qtbot, dock)
    other = session.current
    assert other != drawn  # the draw after it
    assert not dock.model.text(other, PREDICTED) and not dock.model.text(drawn, PREDICTED)

    session.go_to(drawn)
    press(qtbot, dock.table, "1")  # now it is judged
    settled(qtbot, dock)
    assert dock.model.text(drawn, PREDICTED)
    assert not dock.model.text(other, PREDICTED)
    assert picks(own_folder)[-1][1] == "hidden"
    press(qtbot, dock.table, "Z", Qt.KeyboardModifier.ControlModifier)
    settled(qtbot, dock)
    assert not dock.model.text(drawn, PREDICTED)


def test_a_round_goes_on_tomorrow_where_it_was_left(viewer, tmp_path, qtbot):
    folder = tmp_path / "many"
    run(write_drawn(folder, 320, seed=4, size=16, shares=(0.6, 0.3, 0.1)))
    manifest = Manifest.open(folder / "manifest.csv")
    labels, classes = dict(zip(manifest.keys, manifest.table["label"], strict=True)), list(manifest.classes)
    (folder / "manifest.csv").unlink()
    dock = open_dock(viewer, qtbot, folder)
    name_classes(qtbot, dock, classes)
    measured(qtbot, dock, 320)
    press(qtbot, dock.table, "N")
    settled(qtbot, dock)
    label_by_queue(qtbot, dock, labels, classes, 9)
    assert picks(folder)[4] == ("random", "hidden", 1)
    assert "not yet known (60 are needed)" in dock.queue.text.text()
    drawn = dock.session.rows.name[dock.session.current]  # the second of the round, not labelled yet

    viewer.window.remove_dock_widget(dock)
    viewer.layers.clear()
    again = open_dock(viewer, qtbot, folder)
    measured(qtbot, again, 320)
    press(qtbot, again.table, "N")
    settled(qtbot, again)
    assert again.session.rows.name[again.session.current] == drawn
    label_by_queue(qtbot, again, labels, classes, 1)
    assert picks(folder)[-1] == ("random", "hidden", 1)
