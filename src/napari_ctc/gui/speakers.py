"""Whose predictions the window shows: a trained network's, or the instant head's, which learns from each label.

Both speak of classes in the same words; what their numbers are worth in words is in `calibrated`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeGuard

import numpy as np
from numpy.typing import NDArray

NETWORK, HEAD = "network", "head"


class Speaker(Protocol):
    """What a window needs to know of whoever predicts; a `Classifier` is one."""

    @property
    def digest(self) -> str:
        """Names it and no other."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes it knows."""

    @property
    def channel_count(self) -> int:
        """How many channels specimens must have."""

    @property
    def calibrated(self) -> tuple[str, ...]:
        """The classes whose number may be called a probability."""

    def described(self) -> Mapping[str, str]:
        """How its scores were read, by the columns of a table of predictions."""


@dataclass(frozen=True)
class InstantHead:
    """The instant head as it was after some labels.

    Parameters
    ----------
    digest : str
    classes : tuple of str
        In the order of their keys.
    channel_count : int
    labels : int
        How many it learnt from.
    features : int
        How many numbers of each specimen it goes by.
    network : str
        The digest of the network whose features they are; empty for fixed measurements.
    places : tuple of int
        Those of `classes` that had labels: of the others it never speaks.
    """

    digest: str
    classes: tuple[str, ...]
    channel_count: int
    labels: int
    features: int
    network: str
    places: tuple[int, ...]

    calibrated: tuple[str, ...] = field(default=(), init=False)

    @property
    def name(self) -> str:
        """What tables say of the origin: "instant head (27 labels, 254 measurements)"."""
        of = f"features of network {self.network[:8]}" if self.network else "measurements"
        labels = "label" if self.labels == 1 else "labels"
        return f"instant head ({self.labels:,} {labels}, {self.features:,} {of})"

    def described(self) -> dict[str, str]:
        """How its scores were read: each class that it knows as if it were as frequent as the others."""
        share = 1 / len(self.places)
        proportions = ", ".join(
            f"{name}={share if place in self.places else 0:.3g}" for place, name in enumerate(self.classes)
        )
        return {"decision": "most-probable", "proportions": proportions, "calibrated": ""}


@dataclass(frozen=True, eq=False)
class HeadWords:
    """What the instant head said.

    Parameters
    ----------
    speaker : InstantHead
    ids : (m,) int64
        Of the specimens, from `Rows.ids`, rising.
    probabilities : (m, classes) float32
        A row of NaN for a specimen that is not measured.
    """

    speaker: InstantHead
    ids: NDArray[np.int64] = field(repr=False)
    probabilities: NDArray[np.float32] = field(repr=False)

    def of(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Give what was said of specimens by their ids; rows of NaN where nothing was."""
        found = np.full((len(ids), self.probabilities.shape[1]), np.nan, np.float32)
        if len(self.ids):
            places = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
            known = self.ids[places] == ids
            found[known] = self.probabilities[places[known]]
        return found


def is_instant(speaker: object) -> TypeGuard[InstantHead]:
    """Tell whether it is the instant head that speaks."""
    return isinstance(speaker, InstantHead)


def named(speaker: object) -> str:
    """Name the kind of speaker in a sentence: "The class that the … gives it"."""
    return "instant head" if is_instant(speaker) else "trained network"
