"""From raw scores to probabilities for stated class proportions, and to the class that is called.

A weighted loss gives posteriors for proportions that it pretends; `log_posterior` brings them to those a person
wants to read. How the temperature is found is in `temperature`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_ctc.errors import SettingsError
from napari_ctc.settings import Decision

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Reading:
    """How raw scores are read.

    Parameters
    ----------
    loss_prior, shown : tuple of K float, summing to one
        The proportions that the loss pretended, and those that the probabilities are for.
    temperature : float, dimensionless
    decision : "balanced" or "most-probable"
        See `called`.
    """

    loss_prior: tuple[float, ...]
    shown: tuple[float, ...]
    temperature: float
    decision: Decision

    def __call__(self, scores: NDArray[np.floating[Any]]) -> tuple[Floats, NDArray[np.int64]]:
        """Turn raw scores (N, K) into probabilities (N, K) and called classes (N,)."""
        log_p = log_posterior(scores, self.loss_prior, self.shown, self.temperature)
        return np.exp(log_p), called(scores, self.loss_prior, self.shown, self.decision, self.temperature)


def log_posterior(
    scores: NDArray[np.floating[Any]], loss_prior: ArrayLike, shown: ArrayLike, temperature: ArrayLike = 1.0
) -> Floats:
    """Give log-probabilities for the class proportions `shown`.

    Parameters
    ----------
    scores : (N, K) raw scores of the network
    loss_prior : (K,), summing to one
        The proportions that the loss pretended.
    shown : (K,), summing to one
        The proportions that the probabilities are for.
    temperature : float or (N, 1), dimensionless
        Above one it makes the scores less sure, below one surer.

    Returns
    -------
    (N, K) float64, nats

    Notes
    -----
    p_k is proportional to exp(z_k / T) * shown_k / loss_prior_k (Saerens, Latinne and Decaestecker 2002 for the
    ratio; Guo et al. 2017 for the temperature).
    """
    log_p = _weighed(scores, loss_prior, shown, temperature)
    log_p -= log_p.max(axis=1, keepdims=True)  # so that the largest exponential is one
    log_p -= np.log(np.exp(log_p).sum(axis=1, keepdims=True))  # scipy.special takes 80 ms to load
    return log_p


def _weighed(
    scores: NDArray[np.floating[Any]], loss_prior: ArrayLike, shown: ArrayLike, temperature: ArrayLike
) -> Floats:
    """Give log-probabilities but for a constant of each specimen."""
    with np.errstate(divide="ignore"):  # a class that is said not to occur has the probability zero
        ratio = np.log(np.asarray(shown, dtype=np.float64)) - np.log(np.asarray(loss_prior, dtype=np.float64))
    weighed: Floats = np.asarray(scores, dtype=np.float64) / np.asarray(temperature) + ratio
    return weighed


def called(
    scores: NDArray[np.floating[Any]],
    loss_prior: ArrayLike,
    shown: ArrayLike,
    decision: Decision,
    temperature: ArrayLike = 1.0,
) -> NDArray[np.int64]:
    """Decide which class is called; one that is said not to occur never is.

    Parameters
    ----------
    scores, loss_prior, shown, temperature
        As in `log_posterior`.
    decision : "balanced" or "most-probable"
        Balanced calls the class that would be most probable if all were equally common, the scores taken as they
        are.

    Returns
    -------
    (N,) integers in [0, K)

    Notes
    -----
    The temperature has no part in the balanced decision. It divides the scores of a network that is too sure, and
    with them what they hold of the proportions in training, so that a class would be called the sooner, the rarer
    it is, without any sign of it in the specimen: docs/benchmarks.md has what that costs.
    """
    if decision == "balanced":
        occurs = np.asarray(shown) > 0
        shown, temperature = np.where(occurs, 1 / np.count_nonzero(occurs), 0), 1.0
    best: NDArray[np.int64] = _weighed(scores, loss_prior, shown, temperature).argmax(axis=1)
    return best


def read_proportions(text: str, classes: Sequence[str], training: ArrayLike) -> tuple[float, ...]:
    """Read class proportions: "training", "uniform", or "name=0.9, name=0.1".

    Parameters
    ----------
    text : str
    classes : sequence of K str
    training : (K,) numbers
        Training specimens of each class, or their shares.

    Returns
    -------
    tuple of K float, summing to one

    Raises
    ------
    SettingsError
        If a class is missing or unknown, or the numbers are no proportions.
    """
    word = text.strip()
    if word == "training":
        counts = np.asarray(training, dtype=np.float64)
        return tuple(float(share) for share in counts / counts.sum())
    if word == "uniform":
        return (1 / len(classes),) * len(classes)
    given = _given(text, classes)
    if set(given) != set(classes):
        missing = ", ".join(name for name in classes if name not in given)
        foreign = ", ".join(name for name in given if name not in classes)
        raise SettingsError(
            f"The proportions {'lack ' + missing if missing else 'name ' + foreign + ', which is no class'}. Give "
            f"one for each class, as '{classes[0]}=0.9, {classes[1]}=0.1', or say 'training' or 'uniform'."
        )
    shares = [given[name] for name in classes]
    total = math.fsum(shares)
    if min(shares) < 0 or not math.isclose(total, 1, abs_tol=0.005):
        raise SettingsError(f"The proportions sum to {total:g}; they should be parts of 1, none below 0.")
    return tuple(share / total for share in shares)


def describe_proportions(shown: Sequence[float], classes: Sequence[str]) -> str:
    """Write class proportions as `read_proportions` reads them: "leukocyte=0.54, debris=0.46"."""
    return ", ".join(f"{name}={share:.4g}" for name, share in zip(classes, shown, strict=True))


def _given(text: str, classes: Sequence[str]) -> dict[str, float]:
    given: dict[str, float] = {}
    pieces = text.split(",")
    while pieces:
        part = pieces.pop(0)
        while pieces and any(name.startswith(f"{part.lstrip()},") for name in classes):
            part += f",{pieces.pop(0)}"  # a comma of the class's name
        name, _, number = part.rpartition("=")
        try:
            share = float(number)
        except ValueError:
            share = math.nan
        if not name.strip() or not math.isfinite(share) or name.strip() in given:
            raise SettingsError(
                f"'{part.strip()}' is no proportion. Write 'training', 'uniform', or each class once, as "
                f"'name=0.9, other=0.1'."
            )
        given[name.strip()] = share
    return given
