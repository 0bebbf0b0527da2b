"""What probabilities are worth: of the specimens said to be of a class at 0.9, nine in ten should be of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_ctc.score.calibration import Floats, log_posterior
from napari_ctc.score.temperature import FOLDS, cross_fitted, fit_temperature

ENOUGH = 50  # held-out specimens of a class, for its probability to be called calibrated
BINS = 10


@dataclass(frozen=True, eq=False)
class Calibration:
    """What held-out specimens say of a classifier's probabilities.

    Parameters
    ----------
    temperature : float
        From all of them.
    apart : (N,) float64
        For each, a temperature that it had no part in choosing.
    calibrated : tuple of str
        The classes with enough held-out specimens to say so.
    figures : dict
        JSON-safe: log-loss and reliability, before and after, as `as_dict` of the classifier's metrics has them.
    """

    temperature: float
    apart: Floats
    calibrated: tuple[str, ...]
    figures: dict[str, Any]


def calibrate(
    scores: NDArray[np.floating[Any]],
    truth: NDArray[np.int64],
    loss_prior: ArrayLike,
    classes: Sequence[str],
    hunted: bool = False,
) -> Calibration:
    """Fit the temperature, and measure what the probabilities are worth before and after.

    Parameters
    ----------
    scores : (N, K) raw scores, N at least one
        Of held-out specimens.
    truth : (N,) integers in [0, K)
    loss_prior : (K,), summing to one
    classes : sequence of K str
    hunted : bool
        Whether labels were chosen or hunted: what holds for such specimens holds for no others, so that no class
        is calibrated by them.

    Returns
    -------
    Calibration
        Its figures are for the class proportions of the held-out specimens, since observed shares are of those;
        "before" is at temperature one, "after" at temperatures from other specimens than those measured.
    """
    counts = np.bincount(truth, minlength=len(classes))
    shown = counts / counts.sum()
    apart = cross_fitted(scores, truth, loss_prior, shown)
    before = log_posterior(scores, loss_prior, shown)
    after = log_posterior(scores, loss_prior, shown, apart[:, None])
    rows = np.arange(len(truth))
    return Calibration(
        temperature=fit_temperature(scores, truth, loss_prior, shown),
        apart=apart,
        calibrated=tuple(
            name for name, count in zip(classes, counts, strict=True) if count >= ENOUGH and not hunted
        ),
        figures={
            "hunted": hunted,
            "folds": FOLDS,
            "proportions": dict(zip(classes, shown.tolist(), strict=True)),
            **{
                when: {
                    "log_loss": float(-log_p[rows, truth].mean()),
                    "classes": reliability(np.exp(log_p), truth, classes),
                }
                for when, log_p in (("before", before), ("after", after))
            },
        },
    )


def sentence(calibrated: Sequence[str], temperature: float, figures: dict[str, Any]) -> str:
    """Say what the probabilities are worth, before and after, and which are mere scores."""
    before, after = (
        float(np.mean([one["error"] for one in figures[when]["classes"].values()])) for when in ("before", "after")
    )
    scores = ", ".join(name for name in figures["proportions"] if name not in calibrated)
    few = f" Fewer than {ENOUGH} held out, so a score and no probability: {scores}." if scores else ""
    if figures.get("hunted"):
        few = " Their labels were chosen or hunted, so for others these are scores and no probabilities."
    return (
        f"Probabilities of held-out specimens are off by {after:.3f} on average, {before:.3f} before the "
        f"temperature of {temperature:.2f}.{few}"
    )


def reliability(
    probabilities: Floats, truth: NDArray[np.int64], classes: Sequence[str], bins: int = BINS
) -> dict[str, dict[str, Any]]:
    """Compare, for each class, the probability that was said with the share that was observed.

    Parameters
    ----------
    probabilities : (N, K)
    truth : (N,) integers in [0, K)
    classes : sequence of K str
    bins : int
        Of equal width, from 0 to 1; those without specimens are left out.

    Returns
    -------
    dict
        For each class: `bins`, each with `said` (mean probability), `observed` (share) and `count`; `error`, the
        mean difference of the two over specimens; and `count`, specimens of the class.

    Notes
    -----
    `error` is the expected calibration error of one class against the others (Kull et al. 2019, "classwise").
    """
    found = {}
    for place, name in enumerate(classes):
        said, is_it = probabilities[:, place], truth == place
        bin_of = np.minimum((said * bins).astype(np.int64), bins - 1)
        table = [
            {
                "said": float(said[here].mean()),
                "observed": float(is_it[here].mean()),
                "count": int(np.count_nonzero(here)),
            }
            for here in (bin_of == number for number in np.unique(bin_of))
        ]
        error = sum(one["count"] * abs(one["said"] - one["observed"]) for one in table) / len(truth)
        found[name] = {"bins": table, "error": float(error), "count": int(np.count_nonzero(is_it))}
    return found
