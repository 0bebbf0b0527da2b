"""The loss, and how rare classes are weighed in it. `WEIGHTINGS` is the one place to add a rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from napari_ctc.errors import SettingsError
from napari_ctc.settings import Weighting

Floats = NDArray[np.floating[Any]]

BETA = 0.999  # of Cui et al. 2019


@dataclass(frozen=True)
class Rule:
    """One way to weigh rare classes.

    Parameters
    ----------
    weigh : callable
        From (K,) counts to (K,) weights of any common factor.
    adjusts : bool
        Whether the log of the training proportions is added to the scores in the loss.
    resamples : bool
        Whether specimens are drawn so that all classes are seen equally often.
    """

    weigh: Callable[[Floats], Floats] = np.ones_like
    adjusts: bool = False
    resamples: bool = False


def _balanced(counts: Floats) -> Floats:
    return 1 / counts


def _effective(counts: Floats) -> Floats:
    effective: Floats = (1 - BETA) / (1 - BETA**counts)
    return effective


WEIGHTINGS: dict[Weighting, Rule] = {
    "balanced": Rule(_balanced),
    "effective": Rule(_effective),
    "logit-adjusted": Rule(adjusts=True),
    "sampler": Rule(resamples=True),
    "none": Rule(),
}
"""Rules by name.

- balanced: inverse frequency, as in King and Zeng 2001 and scikit-learn.
- effective: inverse "effective number" of specimens, (1 - beta^n) / (1 - beta) (Cui et al. 2019).
- logit-adjusted: the scores of the loss are z + log(proportions), so a rare class needs a wider margin
  (Menon et al. 2021).
- sampler: each class is drawn equally often (class-balanced sampling; Kang et al. 2020 compare it).
- none: each specimen counts the same.
"""


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
    "balanced" equals scikit-learn's ``compute_class_weight("balanced")``; "logit-adjusted" and "sampler" leave the
    weights at one, since they do their work elsewhere.
    """
    numbers = np.asarray(counts, dtype=np.float64)
    if not len(numbers) or numbers.min() < 1:
        raise SettingsError("A class has no training specimen, so it cannot be weighed. Label some, or drop it.")
    weights = WEIGHTINGS[weighting].weigh(numbers)
    scaled: NDArray[np.float32] = (weights * numbers.sum() / (weights * numbers).sum()).astype(np.float32)
    return scaled


def score_shifts(counts: ArrayLike, weighting: Weighting) -> NDArray[np.float32]:
    """Give what is added to the scores in the loss: the log of the training proportions, or zeros; (K,) nats."""
    numbers = np.asarray(counts, dtype=np.float64)
    if not WEIGHTINGS[weighting].adjusts:
        return np.zeros(len(numbers), np.float32)
    shifts: NDArray[np.float32] = np.log(numbers / numbers.sum()).astype(np.float32)
    return shifts


def loss_prior(counts: ArrayLike, weighting: Weighting) -> tuple[float, ...]:
    """Give the class proportions that the scores are for, summing to one.

    Uniform where the rule makes classes equal; else the training counts times the weights.
    """
    numbers = np.asarray(counts, dtype=np.float64)
    rule = WEIGHTINGS[weighting]
    pretended = np.ones_like(numbers) if rule.adjusts or rule.resamples else numbers * rule.weigh(numbers)
    return tuple(float(share) for share in pretended / pretended.sum())


def entropy(shares: ArrayLike) -> float:
    """Give the least mean loss of a guess that is the same for all specimens; nats.

    Parameters
    ----------
    shares : (K,) numbers of any common factor
        How much each class counts.
    """
    share = np.asarray(shares, dtype=np.float64)
    share = share[share > 0] / share.sum()
    return float(-(share * np.log(share)).sum())


def guessing(counts: ArrayLike, weighting: Weighting, smoothing: float = 0.0) -> float:
    """Give the least training loss of a network that tells no specimen from another; nats.

    Less than the loss of equal scores where a rule leaves some classes more common than others: always saying the
    common one is a start.
    """
    numbers = np.asarray(counts, dtype=np.float64)
    # An adjusted loss meets the classes as they are; it is its scores that are for equal ones.
    shares = numbers / numbers.sum() if WEIGHTINGS[weighting].adjusts else np.array(loss_prior(counts, weighting))
    return entropy((1 - smoothing) * shares + smoothing / len(shares))


def weighted_cross_entropy(scores: Tensor, truth: Tensor, weights: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean over specimens of the weighted cross-entropy.

    Parameters
    ----------
    scores : (B, K) raw scores
    truth : (B,) int64
    weights : (K,) float32
    smoothing : float in [0, 1]
        Share of each label that is spread over all classes (Szegedy et al. 2016).

    Notes
    -----
    PyTorch's own mean divides by the weights of the batch, which takes back most of a rare specimen's weight
    in the batch it is in; dividing by the number of specimens does not. The smoothed part is weighed by the true
    class, too: PyTorch weighs it by the other classes, which lets a rare one leak into every specimen.
    """
    losses = F.cross_entropy(scores.float(), truth, reduction="none", label_smoothing=smoothing)
    return torch.dot(weights[truth], losses) / len(truth)
