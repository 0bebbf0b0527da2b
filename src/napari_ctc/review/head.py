"""Instant learning: a linear head on the features, fitted anew after each label.

A function of features and labels, to be called in any thread. Who asks, and whose answer is still wanted, is the
window's business.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

Floats = NDArray[np.float32]

STRENGTH = 0.2
"""`C` of scikit-learn's LogisticRegression; of 0.002 to 2, the one that needed fewest labels in simulations."""


@dataclass(frozen=True, eq=False)
class Head:
    """Logistic regression, each class with the same total weight.

    Parameters
    ----------
    places : (k,) integers
        The classes it knows, as places among all classes; at least two.
    weights : (k, F) float32
    offsets : (k,) float32
    """

    places: NDArray[np.int64]
    weights: Floats = field(repr=False)
    offsets: Floats = field(repr=False)

    def probabilities(self, values: Floats, classes: int) -> Floats:
        """Give the probabilities of all classes, as if they were equally frequent.

        Parameters
        ----------
        values : (N, F) float32
            `Space.values`.
        classes : int
            How many there are; one without labels gets 0.

        Returns
        -------
        (N, classes) float32
        """
        scores = values @ self.weights.T + self.offsets  # (N, k)
        scores -= scores.max(axis=1, keepdims=True)
        np.exp(scores, out=scores)
        found = np.zeros((len(values), classes), np.float32)
        found[:, self.places] = scores / scores.sum(axis=1, keepdims=True)
        return found


def fit_head(
    values: Floats,
    truth: NDArray[np.int64],
    before: Head | None = None,
    wanted: Callable[[], bool] = lambda: True,
) -> Head | None:
    """Fit a head to the labels.

    Parameters
    ----------
    values : (N, F) float32
        `Space.values`.
    truth : (N,) integers
        Each specimen's class; -1 for none.
    before : Head, optional
        The last one: where it knows the same classes, the fit begins with it. It ends at the same place.
    wanted : callable
        Asked before the fit: whether anybody still waits for it.

    Returns
    -------
    Head, or None
        None before two classes have labels, and where it is no longer wanted.
    """
    rows = np.flatnonzero(truth >= 0)
    places = np.unique(truth[rows])
    if len(places) < 2:
        return None
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(
        C=STRENGTH, class_weight="balanced", tol=1e-4, max_iter=1000, warm_start=before is not None
    )
    if before is not None and np.array_equal(before.places, places):
        two = len(places) == 2  # scikit-learn keeps one row of weights then, the difference of both
        model.coef_ = before.weights[1:] * 2 if two else before.weights.copy()
        model.intercept_ = before.offsets[1:] * 2 if two else before.offsets.copy()
    # On a machine with other work, threads that wait for each other made a fit of 10 ms take 1 s.
    with _threads().limit(limits=1, user_api="blas"):
        if not wanted():
            return None
        model.fit(values[rows], truth[rows])
    weights, offsets = model.coef_.astype(np.float32), model.intercept_.astype(np.float32)
    if len(places) == 2:
        weights, offsets = np.concatenate([-weights, weights]) / 2, np.concatenate([-offsets, offsets]) / 2
    return Head(places, weights, offsets)


@cache
def _threads() -> ThreadpoolController:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
