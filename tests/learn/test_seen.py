"""Specimens that a network has seen do not judge it, wherever there are others, and else a sentence says so."""

from pathlib import Path

import numpy as np
import pytest
from spots import write_spots

from napari_ctc.data.files import checkpoint_path
from napari_ctc.data.manifest import Manifest
from napari_ctc.errors import SettingsError, Stopped, StoppedEarlyError
from napari_ctc.events import EpochDone, HeldOut, Planned, Said, Skipped, run
from napari_ctc.learn import checkpoints
from napari_ctc.learn.training import train
from napari_ctc.settings import TrainSettings

SETTINGS = TrainSettings(epochs=1, precision="float32", device="cpu", threads=1)
LEFT_OUT = "Left out of validation, since they would promise too much: "


def part(manifest: Manifest, each: int) -> Manifest:
    """Take the first specimens of each class."""
    labels = manifest.table["label"]
    return manifest.rows(np.flatnonzero(labels.groupby(labels).cumcount() < each))


def followed(job):
    """Run a job; returns its classifier, its events, and the digests of what it validated with."""
    events = []
    classifier = run(job, events.append)
    digests = next(event.calls.digests for event in events if isinstance(event, HeldOut))
    return classifier, events, set(digests)


@pytest.fixture
def grown(tmp_path) -> Manifest:
    return write_spots(tmp_path, (30, 30, 10))


@pytest.fixture
def first(grown):
    return run(train(part(grown, 10), SETTINGS))


def test_what_the_first_classifier_was_trained_on_does_not_validate_the_next(grown, first):
    second, events, held = followed(train(grown, SETTINGS, start=first))
    assert not held & set(first.training_digests)
    assert second.counts["validation"] == {"debris": 6, "leukocyte": 6, "tumour cell": 2}
    assert next(event.validation for event in events if isinstance(event, Planned)) == (6, 6, 2)
    assert second.metrics["warnings"] == []
    third, _, held = followed(train(grown, SETTINGS, start=second))  # and so from one to the next
    assert not held & set(second.training_digests)
    assert third.metrics["warnings"] == []


@pytest.mark.parametrize("seed", range(3))
def test_sources_that_the_first_classifier_has_seen_do_not_validate_the_next(grown, seed):
    sourced = grown.with_column("source", [f"slide {place % 6}" for place in range(len(grown))])
    old = np.flatnonzero(sourced.table["source"].isin(["slide 0", "slide 1", "slide 2", "slide 3"]))
    first = run(train(sourced.rows(old), SETTINGS))
    second, events, held = followed(train(sourced, SETTINGS.model_copy(update={"seed": seed}), start=first))
    assert held and not held & set(first.training_digests)
    calls = next(event.calls for event in events if isinstance(event, HeldOut))
    trained = set(sourced.table["source"]) - set(calls.manifest.table["source"])
    assert len(trained) >= 4 and second.metrics["warnings"] == []


def test_where_all_was_seen_it_validates_and_the_classifier_says_so(grown, first):
    seen = part(grown, 10)
    everything = run(train(seen, SETTINGS.model_copy(update={"seed": 1}), start=first))
    every = set(first.training_digests) | set(everything.training_digests)
    third, _, held = followed(train(_known(seen, every), SETTINGS, start=everything))
    assert held <= every
    (warning,) = third.metrics["warnings"]
    assert warning.startswith(f"{len(held)} of the {len(held)} validation specimens were trained on by the")
    assert warning.endswith("so its scores promise too much. Label some that it has not seen.")


def _known(manifest: Manifest, digests: set[str]) -> Manifest:
    from napari_ctc.data.specimens import content_digest

    known = [content_digest(manifest.specimen(row)) in digests for row in range(len(manifest))]
    return manifest.rows(np.flatnonzero(known))


@pytest.mark.parametrize("marked", ["in the table", "by another table"])
def test_who_is_marked_validates_and_the_classifier_says_how_many_were_seen(grown, first, marked):
    table = grown.table
    chosen = (table.groupby("label").cumcount() % 5 == 0).to_numpy()
    if marked == "in the table":
        job = train(grown.with_column("split", np.where(chosen, "validation", "")), SETTINGS, start=first)
    else:
        validation = grown.rows(np.flatnonzero(chosen))
        job = train(grown.rows(np.flatnonzero(~chosen)), SETTINGS, validation=validation, start=first)
    second, events, held = followed(job)
    seen = held & set(first.training_digests)
    assert seen and len(held) == 14
    (warning,) = second.metrics["warnings"]
    assert warning.startswith(f"{len(seen)} of the 14 validation specimens were trained on by the classifier")
    assert warning in [event.text for event in events if isinstance(event, Said) and event.warning]


def test_unreadable_specimens_are_told_once(grown, first, tmp_path):
    (tmp_path / "0_003.npy").write_bytes(b"no specimen")
    _, events, _ = followed(train(grown, SETTINGS, start=first))
    assert len([event for event in events if isinstance(event, Skipped)]) == 1


def test_a_run_that_began_from_a_classifier_resumes_with_the_same_specimens_held_out(
    grown, first, tmp_path, monkeypatch
):
    monkeypatch.setattr(checkpoints, "REST", 0.0)
    settings = SETTINGS.model_copy(update={"epochs": 4})
    whole, _, held = followed(train(grown, settings, start=first))
    out = tmp_path / "stopped.safetensors"
    job = train(grown, settings, out, start=first)
    try:
        while not isinstance(next(job), EpochDone):
            pass
        while True:
            job.throw(Stopped())
    except StopIteration as end:
        assert end.value.stopped
    assert checkpoint_path(out).exists()
    resumed, _, again = followed(train(grown, settings, out, start=first, resume=True))
    assert resumed.digest == whole.digest
    assert again == held and not held & set(first.training_digests)


def test_a_stop_while_it_is_looked_for_what_was_seen_ends_the_run_in_words(grown, first):
    job = train(grown, SETTINGS, start=first)
    assert next(job).text == "Reading 70 specimens, to tell which the classifier to start from has seen."
    next(job)
    with pytest.raises(StoppedEarlyError, match="before its first epoch ended"):
        job.throw(Stopped())


def test_a_run_that_began_from_a_classifier_does_not_resume_without_it(grown, first, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "REST", 0.0)
    settings, out = SETTINGS.model_copy(update={"epochs": 4}), tmp_path / "stopped.safetensors"
    job = train(grown, settings, out, start=first)
    while not isinstance(next(job), EpochDone):
        pass
    next(job)
    job.close()
    with pytest.raises(SettingsError, match="began from another classifier"):
        run(train(grown, settings, out, resume=True))


# ---------------------------------------------------------------------------------------------- copies


def copied(folder: Path, manifest: Manifest, every: int) -> Manifest:
    """Make every so many-th validation specimen a copy of a training specimen."""
    table = manifest.table
    held = (table.groupby("label").cumcount() < 5).to_numpy()
    for place, row in enumerate(np.flatnonzero(held)):
        if place % every == 0:
            np.save(folder / table["path"].iat[row], manifest.specimen(row + 5))
    return manifest.with_column("split", np.where(held, "validation", ""))


def test_copies_of_training_specimens_do_not_validate(grown, tmp_path):
    classifier, events, held = followed(train(copied(tmp_path, grown, 4), SETTINGS))
    assert not held & set(classifier.training_digests)
    assert sum(classifier.counts["validation"].values()) == len(held) == 11
    warning = f"{LEFT_OUT}4 of 15 specimens, which have the same pixels as training specimens."
    assert classifier.metrics["warnings"] == [warning]
    assert warning in [event.text for event in events if isinstance(event, Said) and event.warning]


def test_where_only_copies_are_left_they_validate_and_the_classifier_says_so(grown, tmp_path):
    classifier, _, held = followed(train(copied(tmp_path, grown, 1), SETTINGS))
    assert len(held) == sum(classifier.counts["validation"].values()) == 15
    (warning,) = classifier.metrics["warnings"]
    assert warning == (
        "All 15 validation specimens have the same pixels as training specimens, so their scores promise too "
        "much. Label others."
    )
