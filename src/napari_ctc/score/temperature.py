"""How sure the raw scores should be taken to be: one temperature, fitted on specimens that were held out.

What the probabilities are worth afterwards is measured in `reliability`, on specimens that did not choose the
temperature that they are read with.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_ctc.score.calibration import Floats, log_posterior

COLDEST, HOTTEST = 0.25, 8.0
DOUBT = math.log(2)  # nats: before the specimens speak, a temperature between a half and two is expected
FOLDS = 5

_GOLDEN = (math.sqrt(5) - 1) / 2
_STEPS = 30  # of the search: the bracket shrinks to a millionth


def fit_temperature(
    scores: NDArray[np.floating[Any]], truth: NDArray[np.int64], loss_prior: ArrayLike, shown: ArrayLike
) -> float:
    """Find the temperature of the least log-loss on held-out specimens.

    Parameters
    ----------
    scores : (N, K) raw scores of the network
    truth : (N,) integers in [0, K)
    loss_prior : (K,), summing to one
        The proportions that the loss pretended.
    shown : (K,), summing to one
        The class proportions of the held-out specimens.

    Returns
    -------
    float from 0.25 to 8, dimensionless
        1 for no specimens.

    Notes
    -----
    Guo et al. 2017, with the ratio of proportions in place. The loss is the plain one, at the proportions that the
    specimens have: those of training, where they were drawn as a share of the same labels. A class-balanced one
    would let two specimens of a rare class outvote hundreds. Few specimens say little of a temperature, and a
    dozen that are all classified right would ask for the coldest; so log T has a normal prior around 0 with the
    width `DOUBT`, which draws T to 1 where there are few and is forgotten where there are hundreds.
    """
    rows = np.arange(len(truth))

    def cost(log_temperature: float) -> float:
        log_p = log_posterior(scores, loss_prior, shown, math.exp(log_temperature))
        return float(-log_p[rows, truth].sum()) + (log_temperature / DOUBT) ** 2 / 2

    low, high = math.log(COLDEST), math.log(HOTTEST)
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = cost(left), cost(right)
    for _ in range(_STEPS):  # golden-section search; scipy.optimize takes half a second to import
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = cost(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = cost(right)
    return round(math.exp((low + high) / 2), 4)


def cross_fitted(
    scores: NDArray[np.floating[Any]], truth: NDArray[np.int64], loss_prior: ArrayLike, shown: ArrayLike
) -> Floats:
    """Give each held-out specimen a temperature that it had no part in choosing.

    Parameters
    ----------
    scores, truth, loss_prior, shown
        As in `fit_temperature`.

    Returns
    -------
    (N,) float64
        The specimens are dealt into five folds, each class spread over all; a fold's temperature is fitted on the
        others.
    """
    order = np.random.default_rng(0).permutation(len(truth))
    order = order[np.argsort(truth[order], kind="stable")]
    fold = np.empty(len(truth), np.int64)
    fold[order] = np.arange(len(truth)) % FOLDS
    temperatures = np.ones(len(truth))
    for number in np.unique(fold):
        others = fold != number
        temperatures[~others] = fit_temperature(scores[others], truth[others], loss_prior, shown)
    return temperatures
