"""What the probabilities of labelled specimens were worth, before and after the temperature: figures and words.

`reliability` measures it while a classifier is made; here it is measured on predictions as a person reads them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_ctc.score.calibration import Floats, Reading, describe_proportions, log_posterior
from napari_ctc.score.reliability import ENOUGH, reliability

SMALLEST = 1e-38  # below it a probability in float32 is zero, and has no logarithm


@dataclass(frozen=True, eq=False)
class Worth:
    """What the probabilities of labelled specimens were worth.

    Parameters
    ----------
    figures : dict
        JSON-safe: `said_proportions`, `temperature`, and for `before` and `after` the temperature, by class, what
        `reliability` gives; `sums`, by class the sum of the probabilities, the half-width of its 95 % interval,
        and the true count. Without `before` where the temperature is one.
    calibrated : tuple of str
        The classes whose probability is more than a score.
    """

    figures: dict[str, Any]
    calibrated: tuple[str, ...]

    def sentences(self) -> list[str]:
        """Say it: for which proportions, then a line a class."""
        after, before = self.figures["after"], self.figures.get("before")
        lines = [f"What the probabilities are worth, if the proportions are {self.figures['said_proportions']}:"]
        for name, found in after.items():
            one = self.figures["sums"][name]
            earlier = f", {before[name]['error']:.3f} before the temperature" if before else ""
            lines.append(
                f"  {name}: off by {found['error']:.3f} on average{earlier}; they add up to {one['sum']:.1f} "
                f"± {one['half_width']:.1f} specimens, and {one['count']} are{self._doubt(name, one['count'])}."
            )
        return lines

    def _doubt(self, name: str, count: int) -> str:
        doubts = [] if name in self.calibrated else ["a score, not calibrated"]
        if count < ENOUGH:
            doubts.append(f"fewer than {ENOUGH} specimens, so this says little")
        return f" ({'; '.join(doubts)})" if doubts else ""


def worth(
    probabilities: NDArray[np.floating[Any]],
    truth: NDArray[np.int64],
    classes: Sequence[str],
    reading: Reading,
    calibrated: Sequence[str],
) -> Worth:
    """Compare what was said with what was.

    Parameters
    ----------
    probabilities : (N, K), N at least one
        As `reading` gives them.
    truth : (N,) integers in [0, K)
    classes : sequence of K str
    reading : Reading
        How the probabilities were read from raw scores.
    calibrated : sequence of str

    Returns
    -------
    Worth

    Notes
    -----
    A sum of probabilities that mean what they say has the variance sum(p * (1 - p)): the 95 % interval is normal,
    1.96 of its roots to each side.
    """
    said = np.asarray(probabilities, dtype=np.float64)
    counts = np.bincount(truth, minlength=len(classes))
    widths = 1.96 * np.sqrt((said * (1 - said)).sum(axis=0))
    figures: dict[str, Any] = {
        "said_proportions": describe_proportions(reading.shown, classes),
        "temperature": reading.temperature,
        "after": reliability(said, truth, classes),
        "sums": {
            name: {"sum": float(total), "half_width": float(width), "count": int(count)}
            for name, total, width, count in zip(classes, said.sum(axis=0), widths, counts, strict=True)
        },
    }
    if not math.isclose(reading.temperature, 1):
        figures["before"] = reliability(_at_temperature_one(said, reading), truth, classes)
    return Worth(figures, tuple(calibrated))


def _at_temperature_one(said: Floats, reading: Reading) -> Floats:
    """Read the raw scores back, up to a constant a specimen, which no probability depends on."""
    occurs = np.asarray(reading.shown) > 0
    shown, prior = np.asarray(reading.shown)[occurs], np.asarray(reading.loss_prior)[occurs]
    scores = reading.temperature * (np.log(np.maximum(said[:, occurs], SMALLEST)) - np.log(shown / prior))
    whole = np.zeros_like(said)  # a class that is said not to occur keeps the probability zero
    whole[:, occurs] = np.exp(log_posterior(scores, prior, shown))
    return whole
