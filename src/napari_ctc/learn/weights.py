"""How rare classes are weighed. `WEIGHTINGS` is the one place to add a rule.

No torch, which the window does without until it trains.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

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


def met_shares(counts: ArrayLike, weighting: Weighting) -> NDArray[np.float64]:
    """Give the class proportions that the loss meets, weights and draws counted in; (K,), summing to one.

    An adjusted loss meets the classes as they are: it is its scores that are for equal ones.
    """
    numbers = np.asarray(counts, dtype=np.float64)
    rule = WEIGHTINGS[weighting]
    met = np.ones_like(numbers) if rule.resamples else numbers * rule.weigh(numbers)
    shares: NDArray[np.float64] = met / met.sum()
    return shares


def loss_prior(counts: ArrayLike, weighting: Weighting) -> tuple[float, ...]:
    """Give the class proportions that the scores are for, summing to one.

    Uniform where the rule makes classes equal; else the training counts times the weights.
    """
    met = met_shares(counts, weighting)
    return tuple((np.full_like(met, 1 / len(met)) if WEIGHTINGS[weighting].adjusts else met).tolist())
