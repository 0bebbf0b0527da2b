"""Cross-validation holds out whole families, tells the truth about them, and keeps what a stop leaves."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from napari_ctc.apply import crossval_folds
from napari_ctc.apply.crossval import cross_validate
from napari_ctc.apply.crossval_result import scored
from napari_ctc.apply.inference import classify
from napari_ctc.data.folds import folds
from napari_ctc.data.manifest import Manifest
from napari_ctc.data.predictions import Predictions, columns
from napari_ctc.errors import CTCError, PredictionsError, SettingsError, Stopped, StoppedEarlyError, TrainingError
from napari_ctc.events import Classified, EpochDone, FoldDone, Said, Skipped, run
from napari_ctc.learn.training import train
from napari_ctc.settings import TrainSettings

QUICK = TrainSettings(epochs=1, device="cpu", precision="float32", augment=False, batch_size=4)


def write_specimens(folder, count=24, classes=("a", "b"), side=16, sources=6) -> Manifest:
    """Write specimens in which the channel of the class is bright."""
    random = np.random.default_rng(0)
    lines = ["path,label,source"]
    for row in range(count):
        image = random.integers(0, 60, (side, side, 4)).astype("uint8")
        image[..., row % len(classes)] += 120
        np.save(folder / f"{row:02}.npy", image)
        lines.append(f"{row:02}.npy,{classes[row % len(classes)]},slide {row // 2 % sources}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return Manifest.read(folder / "manifest.csv")


def stop_at(job, when):
    """Drive a job and stop it at the first event that `when` accepts; returns its result."""
    try:
        event = next(job)
        while not when(event):
            event = next(job)
        job.throw(Stopped())
        while True:
            next(job)
    except StopIteration as end:
        return end.value


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A cross-validation of 24 specimens in 3 folds, its events, and the table it wrote."""
    folder = tmp_path_factory.mktemp("whole")
    manifest = write_specimens(folder)
    shuffled = manifest.rows(np.random.default_rng(1).permutation(24))
    events = []
    found = run(cross_validate(shuffled, QUICK, folder / "out.csv", folds=3), events.append)
    return shuffled, found, events, folder / "out.csv"


def test_labels_that_nothing_can_foretell_score_chance(tmp_path):
    """Each slide has its own look and a label by lot; each specimen is there thrice, on slides of other names."""
    random = np.random.default_rng(3)
    looks, lines = 32, ["path,label,source"]
    labels = random.permutation(["a", "b"] * (looks // 2))
    for look in range(looks):
        image = random.integers(0, 200, (6, 6, 4)).repeat(4, axis=0).repeat(4, axis=1)
        image = (image + random.integers(0, 40, image.shape)).astype("uint8")
        for copy in range(3):
            np.save(tmp_path / f"{copy}_{look}.npy", image)
            lines.append(f"{copy}_{look}.npy,{labels[look]},slide {copy}.{look}")
    (tmp_path / "manifest.csv").write_text("\n".join(lines))
    manifest = Manifest.read(tmp_path / "manifest.csv")
    settings = QUICK.model_copy(update={"epochs": 12, "batch_size": 16, "averaging": False})

    found = run(cross_validate(manifest, settings, folds=3))
    low, high = binom.interval(0.99, looks, 0.5)  # copies are told alike, so there are 32 throws of a coin
    assert low <= found.scores.accuracy * looks <= high
    assert "64 specimens are copies" in found.notes[0]

    # The trap is real: sources kept together, but copies not known as such, and the network shines.
    held = folds(manifest, 3).held[0]
    naive = run(train(manifest.rows(np.setdiff1d(np.arange(len(manifest)), held)), settings))
    promised = scored(run(classify(manifest.rows(held), naive)).table, ("a", "b"))
    assert promised.accuracy * looks > high


def test_every_specimen_has_one_ordinary_prediction_in_the_manifests_order(whole):
    manifest, found, _, out = whole
    assert list(found.predictions.table["path"]) == manifest.keys
    assert list(found.predictions.table.columns) == columns(("a", "b"))
    assert list(Predictions.read(out).table["path"]) == manifest.keys
    assert list(found.predictions.table["label"]) == list(manifest.table["label"])


def test_each_source_is_judged_by_one_classifier(whole):
    _, found, _, _ = whole
    table = found.predictions.table
    assert table["classifier"].nunique() == 3
    assert (table.groupby("source")["classifier"].nunique() == 1).all()


def test_the_scores_of_all_are_those_of_the_folds_together(whole):
    _, found, events, out = whole
    assert (found.scores.confusion == sum(one.confusion for one in found.folds)).all()
    assert found.scores.confusion.sum() == 24
    assert tuple(event.scores for event in events if isinstance(event, FoldDone)) == found.folds
    least, most = found.spread
    assert least <= np.mean([one.balanced_accuracy for one in found.folds]) <= most
    found.write(out.with_suffix(".json"))
    figures = json.loads(out.with_suffix(".json").read_text())
    assert figures["balanced_accuracy"] == found.scores.balanced_accuracy
    assert [one["balanced_accuracy"] for one in figures["folds"]] == [one.balanced_accuracy for one in found.folds]


def test_the_events_tell_how_far_the_whole_is(whole):
    manifest, _, events, _ = whole
    assert {event.total for event in events} == {1000}
    done = [event.done for event in events]
    assert done == sorted(done)
    assert done[-1] == 1000
    assert [event.text[:11] for event in events if isinstance(event, Said) and "Fold" in event.text] == [
        "Fold 1 of 3",
        "Fold 2 of 3",
        "Fold 3 of 3",
    ]
    for event in events:
        if isinstance(event, Classified):
            assert list(event.rows["path"]) == [manifest.keys[row] for row in event.indices]
    assert sorted(row for event in events if isinstance(event, Classified) for row in event.indices) == list(
        range(24)
    )
    warned = [event.text for event in events if isinstance(event, Said) and event.warning]
    assert len(warned) == len(set(warned))


def test_the_specimens_that_follow_a_training_are_no_kin_of_those_trained_on(tmp_path, monkeypatch):
    write_specimens(tmp_path, 36, sources=9)
    for row in range(0, 36, 6):  # copies on other slides, one of them stored otherwise
        np.save(tmp_path / f"{row + 5:02}.npy", np.asfortranarray(np.load(tmp_path / f"{row:02}.npy")))
    manifest = Manifest.read(tmp_path / "manifest.csv")
    seen = []

    def watched(training, settings, validation, channel_names):
        seen.append((training, validation))
        return train(training, settings, validation=validation, channel_names=channel_names)

    monkeypatch.setattr(crossval_folds, "train", watched)
    found = run(cross_validate(manifest, QUICK, folds=3))
    pixels = {key: manifest.specimen(row).tobytes() for row, key in enumerate(manifest.keys)}
    assert len(seen) == len(found.folds) == 3
    for training, validation in seen:
        others = set(manifest.keys) - set(training.keys) - set(validation.keys)
        parts = [set(training.keys), set(validation.keys), others]
        assert all(parts)
        for tie in (pixels, dict(zip(manifest.keys, manifest.table["source"], strict=True))):
            ties = [{tie[key] for key in part} for part in parts]
            assert not ties[0] & ties[1] | ties[0] & ties[2] | ties[1] & ties[2]


def test_a_stop_keeps_the_whole_folds_and_an_older_table(tmp_path):
    manifest = write_specimens(tmp_path)
    out = tmp_path / "out.csv"
    out.write_text("older")
    job = cross_validate(manifest, QUICK, out, folds=3)
    fold = []

    def in_the_second_fold(event):
        fold.extend([event] if isinstance(event, FoldDone) else [])
        return bool(fold) and isinstance(event, EpochDone)

    found = stop_at(job, in_the_second_fold)
    assert found.stopped
    assert found.predictions.stopped
    assert found.folds == (fold[0].scores,)
    assert len(found.predictions) == fold[0].scores.confusion.sum()
    assert found.predictions.table["classifier"].nunique() == 1
    assert "1 of 3 folds" in found.sentences()[-1]
    assert out.read_text() == "older"
    assert len(Predictions.read(tmp_path / "out.stopped.csv")) == len(found.predictions)


def test_a_fold_whose_training_fails_leaves_the_others(tmp_path, monkeypatch):
    manifest = write_specimens(tmp_path)
    calls = []

    def failing(*arguments, **more):
        calls.append(arguments)
        if len(calls) == 2:
            raise TrainingError("The loss is not a finite number.")
        return (yield from train(*arguments, **more))

    monkeypatch.setattr(crossval_folds, "train", failing)
    events = []
    found = run(cross_validate(manifest, QUICK, tmp_path / "out.csv", folds=3), events.append)
    assert not found.stopped
    assert found.failures == ("The loss is not a finite number.",)
    assert len(found.folds) == 2
    assert len(found.predictions) == found.scores.confusion.sum() < 24
    assert "2 of 3 folds" in found.sentences()[-1]
    assert any("Fold 2 failed" in event.text for event in events if isinstance(event, Said) and event.warning)

    monkeypatch.setattr(crossval_folds, "train", lambda *_, **__: failing_always())
    with pytest.raises(TrainingError, match="never"):
        run(cross_validate(manifest, QUICK, folds=3))


def failing_always():
    yield Said(text="Reading.")
    raise TrainingError("It never works.")


@pytest.mark.parametrize("kind", [Said, EpochDone])
def test_a_stop_before_a_fold_ended_has_no_result(tmp_path, kind):
    job = cross_validate(write_specimens(tmp_path), QUICK, tmp_path / "out.csv", folds=3)
    with pytest.raises(StoppedEarlyError, match="first fold"):
        stop_at(job, lambda event: isinstance(event, kind))
    assert not (tmp_path / "out.csv").exists()


def test_a_specimen_that_cannot_be_read_is_a_row_with_its_reason(tmp_path):
    manifest = write_specimens(tmp_path)
    (tmp_path / "05.npy").write_bytes(b"")
    (tmp_path / "08.npy").unlink()
    events = []
    found = run(cross_validate(manifest, QUICK, folds=2), events.append)
    table = found.predictions.table
    assert list(table["path"]) == manifest.keys
    assert "is empty" in table["error"][5]
    assert "does not exist" in table["error"][8]
    assert found.predictions.failed == 2
    assert found.scores.confusion.sum() == 22
    assert sorted(event.path for event in events if isinstance(event, Skipped)) == ["05.npy", "08.npy"]


def test_a_class_of_one_source_counts_as_not_found_and_the_notes_say_so(tmp_path):
    manifest = write_specimens(tmp_path)
    labels = np.array(manifest.table["label"], dtype=object)
    labels[[0, 12]] = "rare"  # both of slide 0
    found = run(cross_validate(manifest.with_column("label", labels), QUICK, folds=3))
    place = found.scores.classes.index("rare")
    assert (found.scores.counts[place], found.scores.found[place]) == (2, 0)
    assert (found.predictions.table["p_rare"][[0, 12]] == 0).all()
    assert any("'rare'" in note and "none can be found" in note for note in found.notes)
    np.testing.assert_allclose(found.predictions.probabilities.sum(axis=1), 1, atol=1e-4)


def test_specimens_marked_test_are_left_alone(tmp_path):
    manifest = write_specimens(tmp_path)
    marks = ["test" if row < 4 else "validation" if row < 8 else "" for row in range(24)]
    found = run(cross_validate(manifest.with_column("split", marks), QUICK, folds=2))
    assert list(found.predictions.table["path"]) == manifest.keys[4:]


def test_copies_of_several_names_are_told(tmp_path):
    manifest = write_specimens(tmp_path)
    np.save(tmp_path / "01.npy", np.load(tmp_path / "00.npy"))  # 00 is an a, 01 a b
    found = run(cross_validate(manifest, QUICK, folds=2))
    assert any("another label" in note and "00.npy and 01.npy" in note for note in found.notes)


def test_what_cannot_work_is_refused_before_anything_is_trained(tmp_path):
    manifest = write_specimens(tmp_path)
    two = manifest.with_column("source", [f"slide of {name}" for name in manifest.table["label"]])
    three = write_specimens(tmp_path, classes=("a", "b", "c"))
    three = three.with_column("source", [f"slide of {name}" for name in three.table["label"]])
    for wrong, sentence in (
        (cross_validate(manifest, QUICK, tmp_path / "out.xlsx"), r"\.csv or \.parquet"),
        (cross_validate(manifest, QUICK, folds=1), "at least 2 folds"),
        (cross_validate(two, QUICK), "fewer than two classes are left"),
        (cross_validate(three, QUICK), "no others can be, to follow its training by.* on more sources"),
        (cross_validate(manifest.with_column("label", ["a"] * 24), QUICK), "at least two classes"),
        (cross_validate(manifest.with_column("by", ["classifier"] * 24), QUICK), "label from a person"),
    ):
        events = []
        with pytest.raises(CTCError, match=sentence) as caught:
            run(wrong, events.append)
        assert caught.type in (PredictionsError, SettingsError) or "person" in sentence
        assert not any(isinstance(event, EpochDone) for event in events)


def test_what_is_said_of_the_specimens_is_said_once(tmp_path):
    manifest = write_specimens(tmp_path)
    more = manifest.with_column("label", [*manifest.table["label"][:-2], "c", "c"])
    marked = more.with_column("split", [""] * (len(more) - 2) + ["test"] * 2)
    events = []
    run(cross_validate(replace(marked, notes=("Something is odd.",)), QUICK, folds=2), events.append)
    said = [event.text for event in events if isinstance(event, Said)]
    assert said.count("Something is odd.") == 1
    assert said.count("Not learnt, since all of its specimens are marked test: c.") == 1


def test_figures_are_told_although_their_table_cannot_be_written(tmp_path, monkeypatch):
    def full(_self, path):
        raise CTCError(f"{path} cannot be written: No space left on device.")

    monkeypatch.setattr(Predictions, "write", full)
    found = run(cross_validate(write_specimens(tmp_path), QUICK, tmp_path / "out.csv", folds=2))
    assert len(found.folds) == 2
    assert "No space left on device" in found.failures[0]
