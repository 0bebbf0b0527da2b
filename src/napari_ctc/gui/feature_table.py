"""What is measured of the open specimens, in one way: by fixed measurements, or by a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray


class FeatureTable:
    """A row of features for each specimen.

    Parameters
    ----------
    network : str
        The digest of the network whose features they are; empty for fixed measurements.

    Attributes
    ----------
    ids : (n,) int64
        Of the specimens, from `Rows.ids`, rising.
    channels : int
        How many channels these specimens have.
    values : (n, F) float32
        A row of NaN for a specimen that is not measured yet, or cannot be; no columns before the first is.
    sizes, modified : (n,) int64, (n,) text
        Of the file that each was measured from, or tried to; -1 and an empty text where nothing is known of it.
    done : int
        How many were measured, or tried.
    version : int
        Higher with each change.
    """

    def __init__(self, network: str = "") -> None:
        self.network = network
        self.channels = 0
        self.ids = np.zeros(0, np.int64)
        self.values = np.zeros((0, 0), np.float32)
        self.sizes, self.modified = self.facts_of(self.ids)
        self.done = self.version = 0
        self._of_job = np.zeros(0, np.intp)
        self._room: NDArray[np.float32] | None = None

    def make_room(self, features: int) -> None:
        """Make the array that `values` will be, in any thread: it takes 0.2 s for 100,000 specimens."""
        self._room = np.full((len(self.ids), features), np.nan, np.float32)

    def of(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Give the features of specimens by their ids; rows of NaN where there are none yet."""
        values = np.full((len(ids), self.values.shape[1]), np.nan, np.float32)
        here, kept = self._places_of(ids)
        values[kept] = self.values[here]
        return values

    def facts_of(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
        """Give `sizes` and `modified` of specimens by their ids."""
        sizes, modified = np.full(len(ids), -1, np.int64), np.full(len(ids), "", object)
        here, kept = self._places_of(ids)
        if len(here):
            sizes[kept], modified[kept] = self.sizes[here], self.modified[here]
        return sizes, modified

    def _places_of(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Give the places of those specimens that it is about, and which of `ids` they are."""
        if not len(self.ids):
            return np.zeros(0, np.intp), np.zeros(0, np.intp)
        places = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        kept = np.flatnonzero(self.ids[places] == ids)
        return places[kept], kept

    def follow(self, ids: NDArray[np.int64], channels: int) -> NDArray[np.intp]:
        """Be about these specimens from now on, and keep what is known of them.

        Parameters
        ----------
        ids : (n,) int64
            In any order.
        channels : int

        Returns
        -------
        (m,) integers
            Which of `ids` are to be measured.
        """
        if channels != self.channels:
            self.values = self.values[:0, :0]
            self.ids = self.ids[:0]
            self.sizes, self.modified = self.facts_of(self.ids)
        self.channels = channels
        self.version += 1
        rising = np.sort(ids)
        if not np.array_equal(rising, self.ids):
            values, (self.sizes, self.modified) = self.of(rising), self.facts_of(rising)
            self.ids, self.values = rising, values
        rows = np.searchsorted(rising, ids)
        known = np.isfinite(self.values).all(axis=1) if self.values.shape[1] else np.zeros(len(ids), bool)
        left = np.flatnonzero(~known[rows])
        self._of_job, self.done = rows[left], len(ids) - len(left)
        return left

    def take(
        self, places: Iterable[int], values: NDArray[np.float32], files: Sequence[tuple[int, str]]
    ) -> NDArray[np.int64]:
        """Take in what a job measured; places are among those that `follow` gave. Returns the specimens' ids."""
        if self.values.shape[1] != values.shape[1]:
            room, self._room, shape = self._room, None, (len(self.ids), values.shape[1])
            fits = room is not None and room.shape == shape
            self.values = room if fits else np.full(shape, np.nan, np.float32)
        rows = self._of_job[list(places)]
        self.values[rows] = values
        self.sizes[rows], self.modified[rows] = [size for size, _ in files], [moment for _, moment in files]
        self.done += len(rows)
        self.version += 1
        return self.ids[rows]

    def forget(self, ids: NDArray[np.int64], sizes: NDArray[np.int64], modified: NDArray[np.object_]) -> bool:
        """Forget what was measured from files that are others now; tells whether there was any.

        Parameters
        ----------
        ids : (n,) int64
        sizes, modified : (n,) arrays
            Of the specimens' files as they are now.
        """
        here, kept = self._places_of(ids)
        other = (self.sizes[here] != sizes[kept]) | (self.modified[here] != modified[kept])
        rows = here[other & (self.modified[here] != "")]
        if not len(rows):
            return False
        self.values = self.values.copy()  # another thread may be reading them, and counts on finite numbers
        self.values[rows] = np.nan
        self.sizes[rows], self.modified[rows] = -1, ""
        self.done -= len(rows)
        self.version += 1
        return True
