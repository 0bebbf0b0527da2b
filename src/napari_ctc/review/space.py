"""Features on one footing: standardised, and brought down to a few dimensions for distances."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

Floats = NDArray[np.float32]

CLIP = 5.0  # spreads; what lies farther out is an outlier and pulls no harder than this
AT_ONCE = 16  # features: wide copies of all 254 of 100,000 specimens would take a gigabyte
SAMPLE = 2_000  # specimens that tell the spread of a feature well enough to say what is alike
SKETCH = 32  # dimensions, in which 10,000 specimens are compared with 2,000 in 30 ms


@dataclass(frozen=True, eq=False)
class Space:
    """The specimens of a set as points.

    Parameters
    ----------
    values : (N, F) float32, dimensionless
        Features with median 0 and spread 1; zeros for specimens that could not be measured.
    known : (N,) bool
        Which specimens could be measured.
    sketch : (N, at most 32) float32
        The directions in which the set varies most.
    """

    values: Floats = field(repr=False)
    known: NDArray[np.bool_] = field(repr=False)
    sketch: Floats = field(repr=False)

    @classmethod
    def of(cls, features: Floats) -> Space:
        """Standardise features by median and quartiles, so that a few odd specimens bend nothing.

        Parameters
        ----------
        features : (N, F) float32
            A row of NaN for a specimen that could not be measured.
        """
        known = np.asarray(np.isfinite(features).all(axis=1))
        values = np.zeros_like(features, dtype=np.float32)
        rows = np.flatnonzero(known)
        for some in range(0, features.shape[1], AT_ONCE) if len(rows) else ():
            part = features[rows, some : some + AT_ONCE].astype(np.float64)
            middle, spread = _footing(part)
            values[rows, some : some + AT_ONCE] = np.clip((part - middle) / spread, -CLIP, CLIP)
        # Where other work keeps the processors, threads that wait for each other take many times as long as one.
        with threadpool_limits(1, user_api="blas"):
            gram = values.T @ values
            _, directions = np.linalg.eigh(gram.astype(np.float64))  # the last ones vary most
            sketch = values @ directions[:, ::-1][:, :SKETCH].astype(np.float32)
        return cls(values, known, sketch)

    def part(self, rows: NDArray[np.integer]) -> Space:
        """Give the points of some specimens, in this order; -1 stands for one that could not be measured."""
        if np.array_equal(rows, np.arange(len(self.known))):
            return self
        known = self.known[rows] & (rows >= 0)
        return Space(self.values[rows], known, self.sketch[rows])

    def distances(self, rows: NDArray[np.integer]) -> Floats:
        """Give each specimen's squared distance, (N,), to the nearest of some; infinite where there are none."""
        nearest = np.full(len(self.values), np.inf, np.float32)
        lengths = np.einsum("nd,nd->n", self.sketch, self.sketch)
        for some in np.array_split(rows, -(-len(rows) // 256) or 1):
            if len(some):
                squares = lengths[:, None] + lengths[some] - 2 * self.sketch @ self.sketch[some].T
                np.minimum(nearest, squares.min(axis=1), out=nearest)
        return np.maximum(nearest, 0)


def unlikeness(features: Floats, row: int) -> NDArray[np.float64]:
    """Give each specimen's distance from one of them, (N,), in spreads of a feature; NaN where not measured.

    Parameters
    ----------
    features : (N, F) float32
        A row of NaN for a specimen that could not be measured.
    row : int
        The one to compare with, which is measured.
    """
    measured = np.flatnonzero(np.isfinite(features).all(axis=1))
    middle, spread = (
        one.astype(np.float32) for one in _footing(features[measured[:: -(-len(measured) // SAMPLE)]])
    )
    one = np.clip((features[row] - middle) / spread, -CLIP, CLIP)
    apart = np.full(len(features), np.nan)
    for some in np.array_split(measured, -(-len(measured) // SAMPLE)):
        others = np.clip((features[some] - middle) / spread, -CLIP, CLIP)
        apart[some] = np.sqrt(((others - one) ** 2).mean(axis=1))
    return apart


def _footing(features: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the median and the spread of each feature, robustly."""
    wide = features.astype(np.float64)
    low, middle, high = np.percentile(wide, [25, 50, 75], axis=0)
    spread = (high - low) / 1.349  # that of a normal distribution with these quartiles
    # A feature that most specimens share, such as the share of dark pixels, still tells of those that differ.
    spread = np.where(spread > 1e-9 * np.abs(middle), spread, wide.std(axis=0))
    spread = np.where(spread > 1e-9 * np.abs(middle), spread, np.inf)
    return middle, spread
