"""A probability means what it says for the stated proportions, and the class called follows the decision."""

import numpy as np
import pytest

from napari_ctc.errors import SettingsError
from napari_ctc.score.calibration import (
    Reading,
    called,
    describe_proportions,
    log_posterior,
    read_proportions,
)
from napari_ctc.score.reliability import ENOUGH, calibrate, reliability, sentence
from napari_ctc.score.temperature import COLDEST, HOTTEST, cross_fitted, fit_temperature

NAMES = ("leukocyte", "debris", "tumour cell")
TRAINING = np.array([0.54, 0.40, 0.06])
OTHERS = np.array([0.25, 0.60, 0.15])
CENTRES = np.array([[0.0, 0.0], [1.6, 0.0], [0.6, 1.8]])
SURENESS = 2.5  # the simulated network is so many times too sure
PRIORS = {
    "uniform": np.full(3, 1 / 3),
    "that of training": TRAINING,
    "between": np.sqrt(TRAINING) / np.sqrt(TRAINING).sum(),
}


def draw(seed, proportions, loss_prior, count):
    """Draw specimens whose true probabilities are known, and the raw scores of a network that is too sure."""
    random = np.random.default_rng(seed)
    truth = random.choice(3, count, p=proportions)
    seen = CENTRES[truth] + random.normal(size=(count, 2))
    likelihood = -((seen[:, None] - CENTRES) ** 2).sum(axis=2) / 2
    return SURENESS * (likelihood + np.log(loss_prior)), truth


def misses(scores, truth, *reading):
    """Say by how many standard deviations the sum of each probability misses the true count."""
    p = np.exp(log_posterior(scores, *reading))
    return np.abs(p.sum(axis=0) - np.bincount(truth, minlength=3)) / np.sqrt((p * (1 - p)).sum(axis=0))


@pytest.mark.parametrize("prior", PRIORS)
def test_probabilities_sum_to_the_true_counts_for_other_proportions_that_are_declared(prior):
    loss_prior = PRIORS[prior]
    for seed in range(6):
        temperature = fit_temperature(*draw(seed, TRAINING, loss_prior, 1500), loss_prior, TRAINING)
        assert temperature == pytest.approx(SURENESS, rel=0.2)
        scores, truth = draw([seed, 1], OTHERS, loss_prior, 2000)
        assert misses(scores, truth, loss_prior, OTHERS, temperature).max() < 3
        # and neither without the temperature, nor for the wrong proportions, nor without the ratio
        assert misses(scores, truth, loss_prior, OTHERS, 1.0).max() > 3
        assert misses(scores, truth, loss_prior, TRAINING, temperature).max() > 3
        assert misses(scores, truth, OTHERS, OTHERS, temperature).max() > 3


def test_few_specimens_leave_the_temperature_near_one():
    uniform = np.full(3, 1 / 3)
    sure = 4 * np.eye(3)  # each right, and by far
    few = fit_temperature(sure, np.arange(3), uniform, uniform)
    many = fit_temperature(np.tile(sure, (300, 1)), np.tile(np.arange(3), 300), uniform, uniform)
    assert 0.8 < few <= 1
    assert COLDEST <= many < 0.5
    wrong = fit_temperature(np.tile(sure, (300, 1)), np.tile([1, 2, 0], 300), uniform, uniform)
    assert 0.95 * HOTTEST < wrong <= HOTTEST
    assert fit_temperature(sure[:0], np.arange(0), uniform, uniform) == pytest.approx(1, abs=1e-3)


def test_no_specimen_has_a_part_in_the_temperature_it_is_read_with():
    scores, truth = draw(0, TRAINING, PRIORS["uniform"], 200)
    before = cross_fitted(scores, truth, PRIORS["uniform"], TRAINING)
    assert len(np.unique(before)) > 1
    for row in (3, 77):
        other = scores.copy()
        other[row] = [-50, 50, 0] if truth[row] == 0 else [50, -50, 0]  # a specimen that is called quite wrong
        after = cross_fitted(other, truth, PRIORS["uniform"], TRAINING)
        assert after[row] == before[row]
        assert (after != before).any()


def test_reliability_counts_what_was_said_and_what_was():
    p = np.array([[0.95, 0.05], [0.95, 0.05], [0.25, 0.75], [1.0, 0.0]])
    found = reliability(p, np.array([0, 1, 1, 0]), ("a", "b"))
    assert found["a"]["bins"] == [
        {"said": 0.25, "observed": 0.0, "count": 1},
        {"said": pytest.approx(2.9 / 3), "observed": pytest.approx(2 / 3), "count": 3},
    ]
    assert found["a"]["error"] == pytest.approx((0.25 + 0.9) / 4)
    assert sum(one["count"] for one in found["b"]["bins"]) == 4 and found["b"]["count"] == 2


def test_the_temperature_makes_probabilities_of_fresh_specimens_reliable():
    scores, truth = draw(4, TRAINING, PRIORS["uniform"], 2000)
    found = calibrate(scores, truth, PRIORS["uniform"], NAMES)
    before, after = found.figures["before"], found.figures["after"]
    assert after["log_loss"] < before["log_loss"]
    for name in NAMES:
        assert after["classes"][name]["error"] < 0.03
    assert before["classes"]["leukocyte"]["error"] > 0.05
    assert f"before the temperature of {found.temperature:.2f}." in sentence(
        found.calibrated, found.temperature, found.figures
    )


def test_a_class_with_too_few_held_out_specimens_is_not_calibrated():
    truth = np.repeat([0, 1, 2], [80, ENOUGH, ENOUGH - 1])
    found = calibrate(np.eye(3)[truth], truth, PRIORS["uniform"], NAMES)
    assert found.calibrated == ("leukocyte", "debris")
    assert calibrate(np.eye(3)[truth], truth, PRIORS["uniform"], NAMES, hunted=True).calibrated == ()


def test_balanced_calls_what_would_be_probable_if_all_were_equally_common():
    likelihood = np.log([[0.5, 0.3, 0.2], [0.3, 0.2, 0.5]])
    reading = {"loss_prior": tuple(TRAINING), "shown": tuple(OTHERS), "temperature": 1.0}
    scores = likelihood + np.log(TRAINING)
    p, balanced = Reading(**reading, decision="balanced")(scores)
    assert balanced.tolist() == [0, 2]
    probable = Reading(**reading, decision="most-probable")(scores)[1]
    assert probable.tolist() == p.argmax(axis=1).tolist() == [1, 1]
    np.testing.assert_allclose(p, np.exp(likelihood) * OTHERS / (np.exp(likelihood) @ OTHERS)[:, None])


def test_a_class_that_is_said_not_to_occur_is_never_called():
    scores, shown = np.array([[0.0, 1.0, 9.0]]), (0.5, 0.5, 0.0)
    for decision in ("balanced", "most-probable"):
        assert called(scores, PRIORS["uniform"], shown, decision) == 1
    assert np.exp(log_posterior(scores, PRIORS["uniform"], shown)).sum() == pytest.approx(1)


def test_a_temperature_calls_no_rare_class_where_nothing_speaks_for_it():
    told_nothing = np.log(TRAINING)[None] + [[0.1, 0.0, 0.0]]  # next to nothing, for the commonest
    reading = {"loss_prior": tuple(TRAINING), "shown": tuple(TRAINING)}
    for temperature in (0.5, 1.0, 2.0):
        assert Reading(**reading, temperature=temperature, decision="balanced")(told_nothing)[1] == 0
    tempered = log_posterior(told_nothing, TRAINING, TRAINING, 2.0)
    assert (tempered - np.log(TRAINING)).argmax() == 2  # what it would be, by the probabilities alone


def test_the_balanced_decision_is_the_same_whatever_the_proportions_shown_and_the_temperature():
    scores, _ = draw(0, TRAINING, TRAINING, 500)
    plain = called(scores, TRAINING, TRAINING, "balanced")
    assert 0 < (plain == 2).sum() < 500
    for shown in (TRAINING, OTHERS, PRIORS["uniform"]):
        np.testing.assert_array_equal(called(scores, TRAINING, shown, "balanced", 2.0), plain)


def test_proportions_are_read_as_they_are_written():
    shown = read_proportions("training", NAMES, [54, 45, 1])
    assert shown == pytest.approx((0.54, 0.45, 0.01))
    text = describe_proportions(shown, NAMES)
    assert text == "leukocyte=0.54, debris=0.45, tumour cell=0.01"
    assert read_proportions(text, NAMES, [1, 1, 1]) == pytest.approx(shown)
    assert read_proportions("uniform", NAMES, [54, 45, 1]) == pytest.approx((1 / 3,) * 3)


def test_a_class_may_have_commas_and_equals_signs_in_its_name():
    names = ("CTC", "CTC, EpCAM+, a=b", "debris")
    shown = (0.25, 0.5, 0.25)
    assert read_proportions(describe_proportions(shown, names), names, [1, 1, 1]) == shown
    with pytest.raises(SettingsError, match="is no proportion"):
        read_proportions("CTC=0.5, CTC", names, [1, 1, 1])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("leukocyte=0.5, debris=0.5", "lack tumour cell"),
        ("leukocyte=0.5, debris=0.4, tumour cell=0.1, platelet=0", "name platelet"),
        ("leukocyte=0.5, debris=0.4, tumour cell=0.5", "sum to 1.4"),
        ("half", "is no proportion"),
        ("leukocyte=nan, debris=0.4, tumour cell=0.5", "is no proportion"),
    ],
)
def test_proportions_that_are_none_are_refused_in_words(text, reason):
    with pytest.raises(SettingsError, match=reason):
        read_proportions(text, NAMES, [1, 1, 1])
