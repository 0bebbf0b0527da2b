"""Figures of labels that were hunted are told from rates."""

import pytest

from napari_ctc.data.history import Pick
from napari_ctc.data.hunted import NOT_A_RATE, hunted, rate_note
from napari_ctc.data.journal import Journal
from napari_ctc.data.manifest import Manifest
from napari_ctc.events import Said, run
from napari_ctc.learn.planning import check_settings


@pytest.fixture
def labelled(own_folder):
    """A folder in which 12 specimens have been labelled: 4 at random and blind, 2 blind no more, 6 hunted."""
    truth = Manifest.open(own_folder / "manifest.csv")
    (own_folder / "manifest.csv").unlink()
    of = dict(zip(truth.keys, truth.table["label"], strict=True))
    order = sorted((key for key in of if of[key] != "tumour cell"), key=lambda key: (of[key], key))
    keys = [order[place * len(order) // 12] for place in range(12)]
    picks = [Pick("random", "hidden", 1)] * 4 + [Pick("random", "visible", 1)] * 2 + [Pick("rare", "visible")] * 6
    with Journal(own_folder / "labels.csv", who="someone") as journal:
        for key, pick in zip(keys, picks, strict=True):
            journal.label([key], of[key], pick)
        journal.label([order[-1]], of[order[-1]], Pick("chosen"))
        journal.undo()
        journal.fold()
    return own_folder


def test_labels_are_counted_as_hunted_unless_drawn_at_random_and_judged_blind(labelled, drawn_folder):
    assert hunted(Manifest.open(labelled / "labels.csv")) == 8
    assert hunted(Manifest.open(drawn_folder / "manifest.csv")) == 0  # nobody knows how those were picked
    assert rate_note(Manifest.open(drawn_folder / "manifest.csv")) == ""


def test_only_the_labels_of_the_specimens_in_question_count(labelled):
    manifest = Manifest.open(labelled / "labels.csv")
    fair = [row for row in range(len(manifest)) if not hunted(manifest.rows([row]))]
    assert len(fair) == 4
    assert rate_note(manifest.rows(fair)) == ""
    assert rate_note(manifest.rows(fair), manifest).startswith("8 of")


def test_the_note_is_told_before_training_and_with_an_evaluation(labelled, tmp_path):
    from napari_ctc.apply.evaluation import evaluate
    from napari_ctc.gui.calibrated import summary, why
    from napari_ctc.learn.training import train
    from napari_ctc.settings import TrainSettings

    manifest = Manifest.open(labelled / "labels.csv")
    settings = TrainSettings(size=24, epochs=1, augment=False, device="cpu", precision="float32", batch_size=4)
    told = [note for note in check_settings(manifest, settings) if NOT_A_RATE in note]
    assert told == [rate_note(manifest)]
    assert told[0].startswith("8 of these labels were chosen or hunted, not drawn at random")
    said = []
    classifier = run(train(manifest, settings, tmp_path / "c.safetensors"), said.append)
    texts = [event.text for event in said if isinstance(event, Said)]
    assert texts.count(told[0]) == 1
    assert NOT_A_RATE in summary(classifier)
    assert "Scores, not calibrated (labels chosen or hunted): " in summary(classifier)
    assert "were chosen or hunted, not drawn at random" in why(classifier, classifier.classes[0])
    assert any("for others these are scores and no probabilities" in text for text in texts)
    said.clear()
    run(evaluate(classifier, manifest), said.append)
    warnings = [event.text for event in said if isinstance(event, Said) and event.warning]
    assert told[0] in warnings
