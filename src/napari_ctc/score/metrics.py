"""Scores of a classifier: counts first, balanced figures as the headline, accuracy never alone.

A rare class has few specimens, so a recall is always shown as a count with an interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scores:
    """What a confusion matrix says.

    Parameters
    ----------
    classes : tuple of str, K names
    confusion : (K, K) integers
        Rows are the truth, columns the prediction.
    """

    classes: tuple[str, ...]
    confusion: NDArray[np.int64]

    def __eq__(self, other: object) -> bool:
        """Compare classes and counts."""
        if not isinstance(other, Scores):
            return NotImplemented
        return self.classes == other.classes and np.array_equal(self.confusion, other.confusion)

    def __hash__(self) -> int:
        """Hash classes and counts."""
        return hash((self.classes, self.confusion.tobytes()))

    @property
    def counts(self) -> NDArray[np.int64]:
        """Specimens of each class, (K,)."""
        counts: NDArray[np.int64] = self.confusion.sum(axis=1)
        return counts

    @property
    def found(self) -> NDArray[np.int64]:
        """Specimens of each class that were predicted as such, (K,)."""
        return np.diagonal(self.confusion)

    @property
    def recall(self) -> Floats:
        """Share of each class that was found, (K,); NaN for a class without specimens."""
        return _ratio(self.found, self.counts)

    @property
    def precision(self) -> Floats:
        """Share of each class's predictions that are right, (K,); NaN for a class never predicted."""
        return _ratio(self.found, self.confusion.sum(axis=0))

    @property
    def f1(self) -> Floats:
        """Harmonic mean of recall and precision, (K,); NaN for a class neither present nor predicted."""
        return _ratio(2 * self.found, self.counts + self.confusion.sum(axis=0))

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall over the classes that are present; NaN without specimens."""
        return _mean(self.recall)

    @property
    def macro_f1(self) -> float:
        """Mean F1 over the classes that are present or predicted, as in scikit-learn; NaN without specimens."""
        return _mean(self.f1)

    @property
    def accuracy(self) -> float:
        """Share of specimens predicted right; to be read beside `majority`. NaN without specimens."""
        total = int(self.confusion.sum())
        return int(self.found.sum()) / total if total else math.nan

    @property
    def majority(self) -> float:
        """The accuracy of always saying the largest class; NaN without specimens."""
        total = int(self.confusion.sum())
        return int(self.counts.max()) / total if total else math.nan

    @property
    def chance(self) -> float:
        """The balanced accuracy of guessing, or of always saying one class; NaN without specimens."""
        present = int(np.count_nonzero(self.counts))
        return 1 / present if present else math.nan

    def intervals(self) -> Floats:
        """Exact 95 % intervals (Clopper and Pearson, 1934) of each recall, as if specimens were independent.

        Returns
        -------
        (K, 2) float64
            Lower and upper end; NaN for a class without specimens.
        """
        return self._intervals.copy()

    def balanced_interval(self) -> tuple[float, float]:
        """Approximate 95 % interval of the balanced accuracy, from those of the recalls; NaN without specimens.

        The half-widths add up as independent errors do (Zou and Donner 2008).
        """
        present = self.counts > 0
        recall, low, high = self.recall[present], *self._intervals[present].T
        if not len(recall):
            return math.nan, math.nan
        below, above = (float(np.sqrt(((end - recall) ** 2).sum())) / len(recall) for end in (low, high))
        return self.balanced_accuracy - below, self.balanced_accuracy + above

    @cached_property
    def _intervals(self) -> Floats:
        # Quantiles of the beta distribution. scipy.stats has them, too, but loading it held the window up for 1 s.
        from scipy.special import betaincinv

        found, counts = self.found.astype(float), self.counts.astype(float)
        missed = counts - found
        low = np.where(found > 0, betaincinv(np.maximum(found, 1), missed + 1, 0.025), 0.0)
        high = np.where(missed > 0, betaincinv(found + 1, np.maximum(missed, 1), 0.975), 1.0)
        ends = np.stack([low, high], axis=1)
        ends[counts == 0] = np.nan
        return ends

    def sentence(self, k: int) -> str:
        """Say how class `k` did: "tumour cell: 4 of 5 found; 95 % interval 28 to 99 %"."""
        name, count = self.classes[k], int(self.counts[k])
        if not count:
            return f"{name}: no specimens to find"
        low, high = (round(100 * end) for end in self._intervals[k])
        return f"{name}: {int(self.found[k])} of {count} found; 95 % interval {low} to {high} %"

    def sentences(self) -> list[str]:
        """Say it all: a line a class, the balanced figures, and accuracy beside the majority's."""
        return [
            *(self.sentence(place) for place in range(len(self.classes))),
            f"Balanced accuracy {self.balanced_accuracy:.3f} (guessing: {self.chance:.3f}), "
            f"macro F1 {self.macro_f1:.3f}.",
            f"Accuracy {self.accuracy:.3f}; always saying the largest class would score {self.majority:.3f}.",
        ]

    def as_dict(self) -> dict[str, Any]:
        """Give all figures as plain values for JSON, None where there is no number."""
        precision, recall, f1 = self.precision, self.recall, self.f1
        return {
            "classes": list(self.classes),
            "counts": {name: int(count) for name, count in zip(self.classes, self.counts, strict=True)},
            "confusion_matrix": self.confusion.tolist(),
            "per_class": {
                name: {
                    "recall": _plain(recall[k]),
                    "precision": _plain(precision[k]),
                    "f1": _plain(f1[k]),
                    "interval": [_plain(end) for end in self._intervals[k]],
                    "count": int(self.counts[k]),
                    "found": int(self.found[k]),
                }
                for k, name in enumerate(self.classes)
            },
            "balanced_accuracy": _plain(self.balanced_accuracy),
            "macro_f1": _plain(self.macro_f1),
            "accuracy": _plain(self.accuracy),
            "majority": _plain(self.majority),
        }


def score(truth: ArrayLike, predicted: ArrayLike, classes: Sequence[str]) -> Scores:
    """Compare predictions with the truth.

    Parameters
    ----------
    truth, predicted : (N,) integers in [0, K)
        Places in `classes`.
    classes : sequence of K str
    """
    truth, predicted = np.asarray(truth, dtype=np.int64), np.asarray(predicted, dtype=np.int64)
    if truth.shape != predicted.shape or truth.ndim != 1:
        raise ValueError(f"truth and predicted differ in shape: {truth.shape}, {predicted.shape}")
    size = len(classes)
    both = np.concatenate([truth, predicted])
    if both.size and not (both.min() >= 0 and both.max() < size):
        raise ValueError(f"a class lies outside 0 to {size - 1}")
    confusion = np.bincount(truth * size + predicted, minlength=size * size).reshape(size, size)
    return Scores(tuple(classes), confusion.astype(np.int64))


def balanced_log_loss(log_posterior: Floats, truth: NDArray[np.int64]) -> float:
    """Mean over classes of the mean of -log p(truth), over the classes that are present.

    Parameters
    ----------
    log_posterior : (N, K), nats
    truth : (N,) integers
    """
    losses = -log_posterior[np.arange(len(truth)), truth]
    return float(np.mean([losses[truth == place].mean() for place in np.unique(truth)]))


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> Floats:
    ratio: Floats = np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
    return ratio


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
