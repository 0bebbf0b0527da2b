"""Training learns, repeats itself, stops well, and harms nothing."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from spots import NAMES, draw_spot, write_spots

from napari_ctc.data.drawn import write_drawn
from napari_ctc.data.manifest import Manifest
from napari_ctc.errors import SettingsError, Stopped, TrainingError
from napari_ctc.events import EpochDone, Planned, Said, Saved, Skipped, StepDone, run
from napari_ctc.learn import batches, threads
from napari_ctc.learn.loading import load_classifier
from napari_ctc.learn.runs import Run
from napari_ctc.learn.training import train
from napari_ctc.score.metrics import balanced_log_loss
from napari_ctc.settings import TrainSettings


def stop_at(job, when):
    """Drive a job, and stop it at the first event that `when` accepts; returns its result and events."""
    events = []
    try:
        event = next(job)
        stopped = False
        while True:
            events.append(event)
            if not stopped and when(event):
                stopped = True
                event = job.throw(Stopped())
            else:
                event = next(job)
    except StopIteration as end:
        return end.value, events


def test_it_learns_which_channel_is_bright(spots):
    settings = TrainSettings(epochs=12, precision="float32", device="cpu", batch_size=6)
    classifier = run(train(spots, settings))
    assert classifier.metrics["balanced_accuracy"] == 1
    fresh = classifier.canvas.batch([draw_spot(kind, 1000 + n) for kind in range(3) for n in range(10)])
    with torch.no_grad():
        scores = classifier.network_module(classifier.canvas.to_input(fresh, torch.device("cpu")))
    assert (scores.argmax(1).numpy() == np.repeat(range(3), 10)).mean() > 0.9


def test_it_learns_drawn_specimens_better_than_chance(tmp_path):
    run(write_drawn(tmp_path / "drawn", 90, size=64, shares=(0.4, 0.4, 0.2)))
    manifest = Manifest.read(tmp_path / "drawn" / "manifest.csv")
    settings = TrainSettings(epochs=10, precision="float32", device="cpu", size=32)
    classifier = run(train(manifest, settings))
    assert classifier.metrics["balanced_accuracy"] > 0.6


def test_the_events_tell_the_plan_then_steps_then_epochs_then_the_file(spots, quick, tmp_path):
    events = []
    run(train(spots, quick, tmp_path / "model.safetensors"), events.append)
    kinds = [type(event) for event in events]
    assert kinds.index(Planned) < kinds.index(StepDone) < kinds.index(EpochDone) < kinds.index(Saved)
    counted = [event for event in events if isinstance(event, StepDone) and event.epoch]
    assert [event.done for event in counted] == list(range(1, counted[-1].total + 1))
    epochs = [event for event in events if isinstance(event, EpochDone)]
    assert [event.epoch for event in epochs] == [1, 2]
    assert epochs[-1].done == epochs[-1].total == counted[-1].total
    assert all(epoch.kept for epoch in epochs)


def test_the_last_epoch_is_kept(spots):
    epochs = []
    settings = TrainSettings(epochs=5, precision="float32", device="cpu", learning_rate=0.01)
    classifier = run(train(spots, settings), lambda event: isinstance(event, EpochDone) and epochs.append(event))
    assert classifier.metrics["epoch"] == 5
    assert classifier.metrics["log_loss"] == epochs[-1].validation_loss
    assert classifier.metrics["on"] == "validation specimens"


def test_patience_ends_the_run_and_keeps_the_epoch_of_the_least_validation_loss(spots):
    epochs = []
    settings = TrainSettings(epochs=200, precision="float32", device="cpu", learning_rate=0.02, patience=3)
    classifier = run(train(spots, settings), lambda event: isinstance(event, EpochDone) and epochs.append(event))
    best = min(epochs, key=lambda event: event.validation_loss)
    assert len(epochs) == best.epoch + 3 < 200
    assert [epoch.kept for epoch in epochs[-4:]] == [True, False, False, False]
    assert classifier.metrics["epoch"] == best.epoch
    assert classifier.metrics["log_loss"] == best.validation_loss
    assert classifier.metrics["on"] == "validation specimens, which chose the epoch"


def test_equal_seeds_give_equal_classifiers_and_others_do_not(spots, quick):
    first, again = run(train(spots, quick)), run(train(spots, quick))
    other = run(train(spots, quick.model_copy(update={"seed": 1})))
    assert first.digest == again.digest != other.digest
    assert first.created  # times are not in the digest


def test_a_stop_keeps_what_was_learnt(spots, quick, tmp_path):
    out = tmp_path / "model.safetensors"
    settings = quick.model_copy(update={"epochs": 50})
    job = train(spots, settings, out)
    classifier, events = stop_at(job, lambda event: isinstance(event, StepDone) and event.epoch == 3)
    assert classifier.stopped and classifier.metrics["epochs"] == 2
    assert load_classifier(out).digest == classifier.digest
    assert isinstance(events[-1], Saved)


@pytest.mark.parametrize("kind", [Planned, StepDone])
def test_a_stop_before_the_first_epoch_ended_leaves_the_old_file(spots, quick, tmp_path, kind):
    out = tmp_path / "model.safetensors"
    out.write_bytes(b"what was there before")
    with pytest.raises(TrainingError, match="before its first epoch ended"):
        stop_at(train(spots, quick, out), lambda event: isinstance(event, kind))
    assert out.read_bytes() == b"what was there before"


def test_a_failed_run_leaves_the_old_file(spots, quick, tmp_path):
    out = tmp_path / "model.safetensors"
    out.write_bytes(b"what was there before")

    def failing(scores, truth, weights):
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        run(train(spots, quick, out, loss=failing))
    assert out.read_bytes() == b"what was there before"
    assert {file.name for file in tmp_path.iterdir() if file.suffix == ".safetensors"} == {out.name}


def test_pytorchs_global_state_is_left_as_it_was(spots, quick):
    torch.manual_seed(5)
    np.random.seed(5)
    random.seed(5)

    def state():
        return (
            torch.get_num_threads(),
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
            torch.is_autocast_enabled("cpu"),
            torch.are_deterministic_algorithms_enabled(),
            torch.get_rng_state().tolist(),
            str(np.random.get_state()),
            random.getstate(),
        )

    before = state()
    during = []
    run(train(spots, quick.model_copy(update={"precision": "bfloat16"})), lambda _: during.append(state()))
    assert state() == before
    assert all(one == before for one in during)


def test_training_does_not_care_for_the_callers_default_dtype_and_gradients(spots, quick):
    torch.set_default_dtype(torch.float64)
    try:
        with torch.no_grad():
            classifier = run(train(spots, quick))
    finally:
        torch.set_default_dtype(torch.float32)
    assert {one.dtype for one in classifier.network_module.parameters()} == {torch.float32}


def test_unreadable_specimens_are_skipped_with_a_reason_and_the_rest_goes_on(spots, quick, tmp_path):
    (tmp_path / "0_000.npy").write_bytes(b"")
    (tmp_path / "0_001.npy").unlink()
    np.save(tmp_path / "1_000.npy", np.full((24, 24, 4), np.nan))
    events = []
    classifier = run(train(spots, quick), events.append)
    skipped = {event.path: event.reason for event in events if isinstance(event, Skipped)}
    assert set(skipped) == {"0_000.npy", "0_001.npy", "1_000.npy"}
    assert "empty" in skipped["0_000.npy"] and "NaN" in skipped["1_000.npy"]
    counts = classifier.counts
    assert counts["training"]["debris"] + counts["validation"]["debris"] == 14
    assert len(classifier.training_digests) == sum(counts["training"].values())


def test_a_class_left_with_too_few_readable_specimens_ends_the_run_in_words(spots, quick, tmp_path):
    for file in sorted(tmp_path.glob("2_*.npy"))[1:]:
        file.write_bytes(b"")
    with pytest.raises(TrainingError, match=r"'tumour cell'.*too few"):
        run(train(spots, quick))


def test_a_constant_channel_is_named_and_does_no_harm(tmp_path, quick):
    manifest = write_spots(tmp_path)
    for file in tmp_path.glob("*.npy"):
        image = np.load(file)
        image[..., 3] = 9
        np.save(file, image)
    said = []
    classifier = run(
        train(manifest, quick, channel_names=("a", "b", "c", "bright field")),
        lambda event: isinstance(event, Said) and said.append(event),
    )
    told = [one.text for one in said if one.warning and one.text.startswith("bright field has the same value (9)")]
    assert len(told) == 1 and told[0] in classifier.metrics["warnings"]
    assert classifier.scaling.sd[3] == 1 and classifier.scaling.mean[3] == 9


def test_a_rare_class_weighs_more(spots, quick):
    planned = []
    balanced = quick.model_copy(update={"weighting": "balanced"})
    classifier = run(train(spots, balanced), lambda event: isinstance(event, Planned) and planned.append(event))
    weights = dict(zip(planned[0].classes, planned[0].weights, strict=True))
    assert weights["tumour cell"] > 2 * weights["debris"]
    assert classifier.loss_prior == pytest.approx((1 / 3,) * 3, abs=1e-5)


def test_specimens_are_read_again_where_they_do_not_fit_in_memory(spots, quick, monkeypatch):
    kept = run(train(spots, quick))
    monkeypatch.setattr(batches, "memory_for_specimens", lambda: 0)
    assert run(train(spots, quick)).digest == kept.digest


def test_a_specimen_lost_halfway_is_skipped(spots, quick, tmp_path, monkeypatch):
    monkeypatch.setattr(batches, "memory_for_specimens", lambda: 0)
    skipped = []

    def lose(event):
        if isinstance(event, EpochDone) and event.epoch == 1:
            (tmp_path / "0_003.npy").unlink()
            (tmp_path / "0_004.npy").unlink()
        if isinstance(event, Skipped):
            skipped.append(event.path)

    run(train(spots, quick.model_copy(update={"epochs": 3})), lose)
    assert set(skipped) == {"0_003.npy", "0_004.npy"}


def test_mixed_dtypes_and_sizes_train_together(tmp_path, quick):
    manifest = write_spots(tmp_path)
    np.save(tmp_path / "0_000.npy", draw_spot(0, 0, side=40, dtype=">u2"))
    np.save(tmp_path / "0_001.npy", np.asfortranarray(draw_spot(0, 1, side=20, dtype="float16")))
    np.save(tmp_path / "0_002.npy", draw_spot(0, 2, dtype="int64").transpose(2, 0, 1))
    said = []
    classifier = run(train(manifest, quick), lambda event: isinstance(event, Said) and said.append(event.text))
    assert sum(classifier.counts["training"].values()) + sum(classifier.counts["validation"].values()) == 34
    (types,) = [text for text in said if "number types" in text]
    assert "1 of uint16" in types and "1 of float16" in types and "1 of int64" in types


def test_a_time_budget_ends_the_run_with_a_classifier(spots, quick):
    settings = quick.model_copy(update={"epochs": 10_000, "minutes": 0.02})
    events = []
    classifier = run(train(spots, settings), events.append)
    assert not classifier.stopped
    assert 1 <= classifier.metrics["epochs"] < 10_000


def test_a_validation_manifest_of_its_own_chooses_the_epoch(tmp_path, quick):
    (tmp_path / "v").mkdir()
    training, validation = write_spots(tmp_path), write_spots(tmp_path / "v", (3, 4, 2))
    classifier = run(train(training, quick, validation=validation))
    assert classifier.counts["validation"] == dict(zip(NAMES, (3, 4, 2), strict=True))
    assert classifier.counts["training"] == dict(zip(NAMES, (16, 12, 6), strict=True))


def test_channel_names_must_match_the_channels(spots, quick):
    with pytest.raises(SettingsError, match="2 channel names were given"):
        run(train(spots, quick, channel_names=("DAPI", "CD45")))


def test_the_log_loss_counts_classes_alike():
    log_p = np.log([[0.9, 0.1]] * 9 + [[0.5, 0.5]])
    expected = (-np.log(0.9) - np.log(0.5)) / 2
    assert balanced_log_loss(log_p, np.array([0] * 9 + [1])) == pytest.approx(expected)


def counts(spots, settings):
    """Train, and give the number of threads at each step."""
    seen = []
    run(train(spots, settings), lambda event: isinstance(event, StepDone) and seen.append(torch.get_num_threads()))
    return seen


def test_the_number_of_cores_is_taken_up_and_given_back(spots, quick, four_cores):
    for count in (1, 2):
        assert set(counts(spots, quick.model_copy(update={"threads": count}))) == {count}
        assert torch.get_num_threads() == 4


def test_a_run_whose_core_is_shared_goes_on_with_fewer_threads(spots, quick, four_cores, monkeypatch):
    monkeypatch.setattr(threads, "SPAN", 0.0)
    monkeypatch.setattr(threads, "thread_time", lambda: 0.0)  # as if others had the cores all the time
    monkeypatch.setattr(threads, "FASTER", 1e9)  # and fewer were faster
    seen = counts(spots, quick.model_copy(update={"threads": 0, "epochs": 4}))
    assert seen[0] == 4 > seen[-1] and torch.get_num_threads() == 4


@pytest.mark.parametrize(("epochs", "rises"), [(20, 10), (1000, 30)])  # of 10 steps
def test_the_learning_rate_rises_shortly_and_falls_to_the_end(epochs, rises):
    now = SimpleNamespace(epochs=epochs, steps=10, settings=TrainSettings())
    rates = []
    for now.step in range(10 * epochs):
        now.progress = now.step / (10 * epochs)
        rates.append(Run.learning_rate(now))
    assert np.argmax(rates) == rises - 1
    assert rates[rises - 1] == pytest.approx(0.002, rel=0.01)
    assert 0 < rates[-1] < 1e-5 and rates[0] <= 0.002 / rises
    assert (np.diff(rates[:rises]) > 0).all() and (np.diff(rates[rises - 1 :]) <= 0).all()
