"""The loss, and how rare classes are weighed in it. `WEIGHTINGS` is the one place to add a rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from napari_ctc.errors import SettingsError
from napari_ctc.settings import Weighting

Floats = NDArray[np.floating[Any]]

BETA = 0.999  # of Cui et al. 2019


def _none(counts: Floats) -> Floats:
    return np.ones_like(counts)


def _balanced(counts: Floats) -> Floats:
    return 1 / counts


def _effective(counts: Floats) -> Floats:
    """Inverse "effective number" of specimens, (1 - beta^n) / (1 - beta) (Cui et al. 2019)."""
    effective: Floats = (1 - BETA) / (1 - BETA**counts)
    return effective


WEIGHTINGS: dict[Weighting, Callable[[Floats], Floats]] = {
    "balanced": _balanced,
    "effective": _effective,
    "none": _none,
}
"""Rules by name: from (K,) counts to (K,) weights of any common factor."""


def class_weights(counts: ArrayLike, weighting: Weighting = "balanced") -> NDArray[np.float32]:
    """Weigh each class by its rarity, with a mean weight of one over specimens.

    Parameters
    ----------
    counts : (K,) integers
        Training specimens of each class.
    weighting : str
        One of `WEIGHTINGS`.

    Returns
    -------
    (K,) float32

    Raises
    ------
    SettingsError
        If a class has no training specimen.

    Notes
    -----
    "balanced" equals scikit-learn's ``compute_class_weight("balanced")``.
    """
    numbers = np.asarray(counts, dtype=np.float64)
    if not len(numbers) or numbers.min() < 1:
        raise SettingsError("A class has no training specimen, so it cannot be weighed. Label some, or drop it.")
    weights = WEIGHTINGS[weighting](numbers)
    scaled: NDArray[np.float32] = (weights * numbers.sum() / (weights * numbers).sum()).astype(np.float32)
    return scaled


def loss_prior(counts: ArrayLike, weights: ArrayLike) -> tuple[float, ...]:
    """Give the class proportions that a weighted loss pretends: counts times weights, summing to one."""
    pretended = np.asarray(counts, dtype=np.float64) * np.asarray(weights, dtype=np.float64)
    return tuple(float(share) for share in pretended / pretended.sum())


def weighted_cross_entropy(scores: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    """Mean over specimens of the weighted cross-entropy.

    Parameters
    ----------
    scores : (B, K) raw scores
    truth : (B,) int64
    weights : (K,) float32

    Notes
    -----
    PyTorch's own mean divides by the weights of the batch, which takes back most of a rare specimen's weight
    in the batch it is in; dividing by the number of specimens does not.
    """
    return F.cross_entropy(scores.float(), truth, weight=weights, reduction="sum") / len(truth)
