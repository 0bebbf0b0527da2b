"""Which class is hunted, and that it stays the same while the hunt succeeds."""

import pytest

from napari_ctc.data.history import History, Pick
from napari_ctc.data.journal import Journal
from napari_ctc.data.labels import LabelTable
from napari_ctc.review.audit import hits
from napari_ctc.review.hunt import SURE_FROM, fewest, hunted_class

CLASSES = ("tumour cell", "debris", "leukocyte")


def history_of(steps):
    """A history of labels, each as its class and how its specimen was picked."""
    history = History(LabelTable())
    for number, (name, how) in enumerate(steps, 1):
        history.apply({"entry": "labelled", "step": number, "key": f"{number}.npy", "label": name, "picked": how})
    return history


def counts_of(history):
    names = [label.name for label in history.labels().values()]
    return {name: names.count(name) for name in CLASSES}


def test_the_fewest_labels_and_the_last_of_equals():
    assert fewest({"a": 5, "b": 2, "c": 9}) == "b"
    assert fewest({"a": 0, "b": 0, "c": 0}) == "c"
    assert fewest({}) == ""


def test_the_class_stays_the_same_once_the_hunt_has_begun():
    common = [("debris", "unlike"), ("leukocyte", "unlike")] * 5
    steps = [*common, ("tumour cell", "random"), *[("tumour cell", "rare")] * 30]
    history = history_of(steps)
    assert fewest(counts_of(history)) == "leukocyte"  # of the others there are fewer labels by now
    assert hunted_class(history, counts_of(history)) == "tumour cell"
    history.apply({"entry": "renamed", "step": 99, "old": "leukocyte", "new": "debris", "keys": [], "classes": [],
                   "was_classes": []})  # fmt: skip
    assert hunted_class(history, counts_of(history)) == "tumour cell"


@pytest.mark.parametrize(
    ("old", "new", "hunted"),
    [
        ("leukocyte", "white blood cell", "tumour cell"),
        ("leukocyte", "debris", "tumour cell"),  # merged
        ("tumour cell", "CTC", "CTC"),
    ],
)
def test_a_class_that_is_renamed_while_hunting_changes_neither_the_hunt_nor_its_yield(tmp_path, old, new, hunted):
    given = [*["leukocyte"] * 8, *["debris"] * 5, *["tumour cell"] * 2]
    with Journal(tmp_path / "labels.csv", who="someone") as journal:
        journal.set_classes(["leukocyte", "debris", "tumour cell"])
        for place, name in enumerate(given):
            journal.label([f"{place}.npy"], name)
        for place in range(12):
            journal.label([f"hunted {place}.npy"], "tumour cell", Pick("rare", "visible"))
        journal.rename_class(old, new)
        history = journal.history
        names = [label.name for label in history.labels().values()]
        assert hunted_class(history, {name: names.count(name) for name in history.classes}) == hunted
        assert "hits in the last 12: 12," in hits(history, hunted)
        journal.rename_class(hunted, "leukocyte" if new == "debris" else old)  # a name that was in use before
        assert "hits in the last 12: 12," in hits(history, history.labels()["hunted 0.npy"].name)
        journal.undo()
        journal.undo()
        assert "hits in the last 12: 12," in hits(history, "tumour cell")


def test_a_hunt_that_begins_with_few_labels_may_change_its_mind():
    early = [("tumour cell", "unlike"), ("debris", "unlike"), ("leukocyte", "unlike"), ("leukocyte", "rare")]
    history = history_of(early)
    assert len(early) < SURE_FROM
    assert hunted_class(history, counts_of(history)) == "debris"  # the last of equals
    history = history_of([*early, *[("debris", "rare")] * 7, ("debris", "rare")])
    assert hunted_class(history, counts_of(history)) == "tumour cell"
