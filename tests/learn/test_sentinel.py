"""The sentinel stops a run whose loss cannot be right, in words."""

import math

import numpy as np
import pytest
import torch.nn.functional as F
from scipy.optimize import minimize
from spots import NAMES, write_spots

from napari_ctc.errors import TrainingError
from napari_ctc.events import Said, run
from napari_ctc.learn import rehearsal
from napari_ctc.learn.losses import guessing
from napari_ctc.learn.sentinel import Sentinel, looked_back
from napari_ctc.learn.training import train
from napari_ctc.learn.weights import WEIGHTINGS, class_weights, met_shares, score_shifts
from napari_ctc.score.metrics import score
from napari_ctc.settings import TrainSettings

LONG = TrainSettings(epochs=16, precision="float32", device="cpu")  # enough steps to be judged


def original_loss(scores, truth, weights):
    """NLLLoss fed raw scores, as in the script: it falls without end."""
    return F.nll_loss(scores, truth, weight=weights)


def test_the_original_scripts_loss_is_stopped_before_its_first_step(spots, quick, tmp_path):
    with pytest.raises(TrainingError, match=r"raw scores|negative"):
        run(train(spots, quick, tmp_path / "model.safetensors", loss=original_loss))
    assert not (tmp_path / "model.safetensors").exists()


def test_a_loss_that_explodes_names_the_learning_rate(spots, quick, monkeypatch):
    monkeypatch.setattr(rehearsal, "SECONDS", 0)
    calls = []

    def exploding(scores, truth, weights):
        calls.append(1)
        return F.cross_entropy(scores, truth) * (math.inf if len(calls) > 3 else 1)

    with pytest.raises(TrainingError, match=r"step 4.*learning rate that is too large \(0.002\)"):
        run(train(spots, quick, loss=exploding))


def test_a_constant_channel_is_named_as_the_likely_cause():
    with pytest.raises(TrainingError, match="CD45, the same in every training specimen"):
        Sentinel(3, 0.002, ["CD45"]).check_step(math.nan, 7)


@pytest.mark.parametrize(("loss", "weight"), [(math.log(3), 1.0), (1.4, 1.0), (3.1, 2.5), (0.6, 0.5)])
def test_a_loss_near_chance_passes(loss, weight):
    Sentinel(3, 0.002).check_start(loss, math.log(3) * weight)


@pytest.mark.parametrize("loss", [0.0, 0.1, 9.0, -0.2, math.nan, math.inf])
def test_a_first_loss_far_from_chance_is_stopped(loss):
    with pytest.raises(TrainingError):
        Sentinel(3, 0.002).check_start(loss, math.log(3))


@pytest.fixture(autouse=True)
def time_to_rehearse(monkeypatch):
    """Let the rehearsal take all its steps, however busy this machine is."""
    monkeypatch.setattr(rehearsal, "SECONDS", 60.0)


def warnings_of(job):
    """Run a job; returns its result and the warnings on the way, save that a class has few specimens."""
    said = []
    result = run(job, lambda event: isinstance(event, Said) and event.warning and said.append(event.text))
    return result, [text for text in said if "labelled specimens: what is said" not in text]


def never_learning(scores, truth, weights):
    """A loss that looks right, and passes nothing on to the weights."""
    return F.cross_entropy(scores.detach(), truth) + 0 * scores.sum()


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_a_sound_run_is_neither_stopped_nor_warned_of(tmp_path, weighting):
    manifest = write_spots(tmp_path, (25, 20, 10))
    settings = LONG.model_copy(update={"weighting": weighting, "epochs": 12})
    classifier, said = warnings_of(train(manifest, settings))
    assert said == [] and classifier.metrics["warnings"] == []


# --------------------------------------------------------------------------------- before the first epoch


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_rehearsal_leaves_the_run_as_it_was(spots, quick, monkeypatch, precision):
    settings = quick.model_copy(update={"precision": precision})
    with_it = run(train(spots, settings))
    monkeypatch.setattr(rehearsal, "SECONDS", 0)
    assert run(train(spots, settings)).digest == with_it.digest


def test_a_loss_that_never_learns_is_stopped_before_the_first_epoch(spots, quick):
    with pytest.raises(TrainingError, match=r"before its first step: not even 12 specimens .* passes nothing on"):
        run(train(spots, quick, loss=never_learning))


def test_identical_specimens_with_different_labels_are_stopped_before_the_first_epoch(spots, quick, tmp_path):
    image = np.load(tmp_path / "0_000.npy")
    for file in tmp_path.glob("*.npy"):
        np.save(file, image)
    with pytest.raises(TrainingError, match=r"pixels are all the same.*debris, leukocyte, tumour cell"):
        run(train(spots, quick))


@pytest.mark.parametrize(("rate", "word"), [(1.0, "large"), (1e-7, "small")])
def test_a_learning_rate_far_off_is_said_before_the_first_epoch(spots, quick, rate, word):
    _, said = warnings_of(train(spots, quick.model_copy(update={"learning_rate": rate})))
    assert len(said) == 1 and f"looks too {word}" in said[0] and "set 0.002" in said[0]


@pytest.mark.parametrize("rate", [1e-4, 5e-4, 0.01, 0.02])  # 0.05 loses the rare class
def test_a_learning_rate_that_works_is_not_spoken_of(spots, quick, rate):
    assert warnings_of(train(spots, quick.model_copy(update={"learning_rate": rate})))[1] == []


def test_a_rehearsal_out_of_time_passes(spots, quick, monkeypatch):
    monkeypatch.setattr(rehearsal, "SECONDS", 1e-6)
    run(train(spots, quick, loss=never_learning))


# ------------------------------------------------------------------------------------------- in the data


def test_channels_that_are_all_constant_are_refused(spots, quick, tmp_path):
    for file in tmp_path.glob("*.npy"):
        np.save(file, np.full((24, 24, 4), 7, np.uint8))
    with pytest.raises(TrainingError, match="Every channel has the same value"):
        run(train(spots, quick))


def test_nan_pixels_are_named_with_their_channels_and_in_all_specimens_end_the_run(spots, quick, tmp_path):
    for file in tmp_path.glob("*.npy"):
        image = np.load(file).astype(float)
        image[3, 4, 1] = math.nan
        image[3:5, 4, 3] = math.inf
        np.save(file, image)
    skipped = []
    with pytest.raises(TrainingError, match="34 of 34 specimens cannot be read"):
        run(train(spots, quick), lambda event: skipped.append(getattr(event, "reason", "")))
    assert any("3 pixel values in channels 2 and 4 that are not numbers" in reason for reason in skipped)


def test_the_same_pixels_with_different_labels_are_counted_and_two_are_named(spots, quick, tmp_path):
    np.save(tmp_path / "1_003.npy", np.load(tmp_path / "0_002.npy"))
    classifier, said = warnings_of(train(spots, quick))
    assert said[0].startswith("2 specimens have the same pixels")
    assert "0_002.npy" in said[0] and "1_003.npy" in said[0]
    kept = classifier.metrics["warnings"]
    assert kept[0].startswith("2 specimens have the same pixels as one of another label. One of each is wrong")
    assert "0_002" not in str(classifier.metrics)  # no file's name in a classifier


def test_a_class_without_validation_specimens_is_said_and_recorded(tmp_path, quick):
    (tmp_path / "v").mkdir()
    training, validation = write_spots(tmp_path), write_spots(tmp_path / "v", (3, 4, 0), side=25)
    classifier, said = warnings_of(train(training, quick, validation=validation))
    assert [text.split(",")[0] for text in said] == ["There is no tumour cell among the validation specimens"]
    assert classifier.metrics["warnings"] == said


# ------------------------------------------------------------------------------------------ at the end


def test_shuffled_labels_learnt_by_heart_are_said_to_look_shuffled(tmp_path):
    manifest = write_spots(tmp_path, (60, 60, 0))
    settings = LONG.model_copy(update={"augment": False, "validation_fraction": 0.4})
    # Held-out labels may agree by luck, on one processor and not another: then another shuffle is tried.
    for seed in (4, 5, 6):
        labels = np.random.default_rng(seed).permutation(manifest.table["label"].to_numpy())
        classifier, said = warnings_of(train(manifest.with_column("label", labels), settings))
        if said:
            break
    assert len(said) == 1 and "labels look shuffled" in said[0]
    assert classifier.metrics["warnings"] == said


def test_a_run_that_learns_nothing_says_so(spots):
    classifier, said = warnings_of(train(spots, LONG.model_copy(update={"learning_rate": 1e-7})))
    assert "Hardly anything was learnt" in said[-1]
    assert classifier.metrics["warnings"] == said[-1:]


def scores_of(*rows):
    """Scores with these rows of the confusion matrix."""
    pairs = [(truth, k) for truth, row in enumerate(rows) for k, count in enumerate(row) for _ in range(count)]
    return score(*zip(*pairs, strict=True), NAMES[: len(rows)])


GOOD = scores_of((18, 2), (3, 17))
CHANCE = scores_of((10, 10), (11, 9))
FEW_AT_CHANCE = scores_of((1, 1), (1, 1))
FEW_OF_ONE = scores_of((38, 0), (1, 1))


@pytest.mark.parametrize(
    ("history", "scores", "said"),
    [
        ([(0.6, 0.6), (0.2, 0.3)], GOOD, ""),
        ([(0.6, 0.6), (0.69, 0.6)], GOOD, "Hardly anything was learnt"),
        ([(0.6, 0.7), (0.2, 0.9)], CHANCE, "labels look shuffled"),
        ([(0.6, 0.7), (0.6, 0.7)], CHANCE, ""),
        ([(0.6, 0.7), (0.2, 0.9)], FEW_AT_CHANCE, ""),
        ([(0.6, 0.3), (0.01, 0.9)], GOOD, "by heart"),
        ([(0.6, 0.3), (0.01, 0.6)], GOOD, ""),
        ([(0.6, 0.3), (0.01, 2.6)], FEW_OF_ONE, ""),
    ],
)
def test_a_run_is_judged_at_its_end(history, scores, said):
    found = looked_back(history, math.log(2), scores)
    assert said in found[0] if said else found == []


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_guessing_costs_what_the_best_constant_scores_cost(weighting, smoothing):
    counts = np.array([54, 45, 1])
    weights, shifts = class_weights(counts, weighting), score_shifts(counts, weighting)
    shown = np.full(3, 100 / 3) if WEIGHTINGS[weighting].resamples else counts
    labels = (1 - smoothing) * np.eye(3) + smoothing * met_shares(counts, weighting)

    def loss(scores):
        log_p = scores + shifts - np.log(np.exp(scores + shifts).sum())
        return -(shown * weights * (labels @ log_p)).sum() / 100

    least = minimize(loss, np.zeros(3)).fun
    assert guessing(counts, weighting) == pytest.approx(least, abs=1e-3)
