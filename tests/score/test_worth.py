"""What probabilities were worth is told for predictions as they were read, before and after the temperature."""

import numpy as np
import pytest

from napari_ctc.score.calibration import Reading, log_posterior
from napari_ctc.score.reliability import reliability
from napari_ctc.score.worth import worth

NAMES = ("leukocyte", "debris", "tumour cell")
PRIOR, SHOWN = (0.5, 0.3, 0.2), (0.6, 0.3, 0.1)
CENTRES = np.array([[0.0, 0.0], [1.6, 0.0], [0.6, 1.8]])


def drawn(count, sureness, shares=SHOWN):
    """Draw specimens, and the raw scores of a network that is `sureness` times too sure."""
    random = np.random.default_rng(5)
    truth = random.choice(3, count, p=shares)
    seen = CENTRES[truth] + random.normal(size=(count, 2))
    return sureness * (np.log(PRIOR) - ((seen[:, None] - CENTRES) ** 2).sum(axis=2) / 2), truth


def read(scores, truth, temperature, shown=SHOWN, calibrated=NAMES):
    reading = Reading(PRIOR, shown, temperature, "balanced")
    return worth(reading(scores)[0].astype(np.float32), truth, NAMES, reading, calibrated)


def test_figures_before_the_temperature_are_those_of_the_raw_scores():
    scores, truth = drawn(1000, 2.5)
    found = read(scores, truth, 2.5).figures["before"]
    direct = reliability(np.exp(log_posterior(scores, PRIOR, SHOWN)), truth, NAMES)
    for name in NAMES:
        assert found[name]["error"] == pytest.approx(direct[name]["error"], abs=1e-3)
        assert found[name]["count"] == direct[name]["count"]


def test_sums_agree_with_the_true_counts_only_where_the_proportions_are_those_declared():
    found = read(*drawn(3000, 2.5), 2.5)
    for one in found.figures["sums"].values():
        assert abs(one["sum"] - one["count"]) < 1.5 * one["half_width"]
    assert found.figures["after"]["debris"]["error"] < found.figures["before"]["debris"]["error"]
    wrong = read(*drawn(3000, 2.5), 2.5, shown=(0.1, 0.3, 0.6)).figures["sums"]["tumour cell"]
    assert wrong["sum"] - wrong["count"] > 2 * wrong["half_width"]


def test_a_class_that_is_said_not_to_occur_keeps_the_probability_zero():
    found = read(*drawn(200, 2.5), 2.5, shown=(0.6, 0.4, 0.0))
    assert found.figures["sums"]["tumour cell"]["sum"] == 0
    assert [one["said"] for one in found.figures["before"]["tumour cell"]["bins"]] == [0]


def test_sentences_name_the_proportions_and_mark_scores_and_small_counts():
    lines = read(*drawn(200, 2.5), 2.5, calibrated=NAMES[:2]).sentences()
    assert "leukocyte=0.6, debris=0.3, tumour cell=0.1" in lines[0]
    assert "before the temperature" in lines[1] and "score" not in lines[1]
    assert "a score, not calibrated; fewer than 50 specimens" in lines[3]


def test_without_a_temperature_there_is_no_before():
    found = read(*drawn(200, 1), 1)
    assert "before" not in found.figures
    assert not any("before" in line for line in found.sentences())
