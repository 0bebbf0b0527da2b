"""Weights follow the published rules, with a mean of one over specimens."""

from typing import get_args

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from napari_ctc.errors import SettingsError
from napari_ctc.learn.losses import weighted_cross_entropy
from napari_ctc.learn.weights import WEIGHTINGS, class_weights, loss_prior, met_shares, score_shifts
from napari_ctc.score.calibration import called
from napari_ctc.settings import Weighting

COUNTS = np.array([1485, 1237, 27])


def test_the_settings_name_every_weighting():
    assert set(WEIGHTINGS) == set(get_args(Weighting))


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_the_mean_weight_over_specimens_is_one(weighting):
    assert (class_weights(COUNTS, weighting) * COUNTS).sum() / COUNTS.sum() == pytest.approx(1, rel=1e-5)


def test_balanced_equals_scikit_learn():
    truth = np.repeat(np.arange(3), COUNTS)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=truth)
    np.testing.assert_allclose(class_weights(COUNTS, "balanced"), expected, rtol=1e-6)


def test_effective_follows_cui_2019():
    expected = 0.001 / (1 - 0.999**COUNTS)
    weights = class_weights(COUNTS, "effective")
    np.testing.assert_allclose(weights / weights[0], expected / expected[0], rtol=1e-5)
    assert weights[2] < class_weights(COUNTS, "balanced")[2]


def test_a_class_without_specimens_is_refused():
    with pytest.raises(SettingsError, match="no training specimen"):
        class_weights([3, 0], "balanced")


def test_a_balanced_loss_pretends_equal_classes_and_an_unweighted_one_the_real_shares():
    for weighting in ("balanced", "logit-adjusted", "sampler"):
        assert loss_prior(COUNTS, weighting) == pytest.approx((1 / 3,) * 3)
    assert loss_prior(COUNTS, "none") == pytest.approx(COUNTS / COUNTS.sum())
    effective = loss_prior(COUNTS, "effective")
    assert COUNTS[2] / COUNTS.sum() < effective[2] < 1 / 3


def test_a_rare_specimen_keeps_its_weight_in_its_batch():
    scores, weights = torch.zeros(4, 2), torch.tensor([0.5, 10.0])
    without = weighted_cross_entropy(scores, torch.tensor([0, 0, 0, 0]), weights)
    with_one = weighted_cross_entropy(scores, torch.tensor([0, 0, 0, 1]), weights)
    assert float(with_one / without) == pytest.approx((1.5 + 10) / 2)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_smoothed_labels_leave_each_class_its_specimens(weighting):
    """Spread evenly, the rare class got more of each label than it is common: every specimen was called rare."""
    counts = np.array([540, 450, 10])
    spread = 0.2 * met_shares(counts, weighting)
    wanted = 0.8 * np.eye(3) + spread  # (3, 3): what the network says of a sure specimen of each class
    shifts, prior = score_shifts(counts, weighting), loss_prior(counts, weighting)
    scores = torch.tensor(np.log(wanted) - shifts, dtype=torch.float32, requires_grad=True)
    weights = torch.from_numpy(class_weights(counts, weighting))
    shifted = scores + torch.from_numpy(shifts)
    weighted_cross_entropy(shifted, torch.arange(3), weights, torch.tensor(spread).float()).backward()
    assert scores.grad.abs().max() < 1e-5  # so these are the best scores by this loss
    assert list(called(scores.detach().numpy(), prior, counts / counts.sum(), "balanced")) == [0, 1, 2]
