"""What is measured of the open specimens, in one way: by fixed measurements, or by a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

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
        self.done = self.version = 0
        self._of_job = np.zeros(0, np.intp)
        self._room: NDArray[np.float32] | None = None

    def make_room(self, features: int) -> None:
        """Make the array that `values` will be, in any thread: it takes 0.2 s for 100,000 specimens."""
        self._room = np.full((len(self.ids), features), np.nan, np.float32)

    def of(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Give the features of specimens by their ids; rows of NaN where there are none yet."""
        values = np.full((len(ids), self.values.shape[1]), np.nan, np.float32)
        if len(self.ids):
            places = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
            known = self.ids[places] == ids
            values[known] = self.values[places[known]]
        return values

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
        self.channels = channels
        self.version += 1
        rising = np.sort(ids)
        if not np.array_equal(rising, self.ids):
            self.ids, self.values = rising, self.of(rising)
        rows = np.searchsorted(rising, ids)
        known = np.isfinite(self.values).all(axis=1) if self.values.shape[1] else np.zeros(len(ids), bool)
        left = np.flatnonzero(~known[rows])
        self._of_job, self.done = rows[left], len(ids) - len(left)
        return left

    def take(self, places: Iterable[int], values: NDArray[np.float32]) -> NDArray[np.int64]:
        """Take in what a job measured; places are among those that `follow` gave. Returns the specimens' ids."""
        if self.values.shape[1] != values.shape[1]:
            room, self._room, shape = self._room, None, (len(self.ids), values.shape[1])
            fits = room is not None and room.shape == shape
            self.values = room if fits else np.full(shape, np.nan, np.float32)
        rows = self._of_job[list(places)]
        self.values[rows] = values
        self.done += len(rows)
        self.version += 1
        return self.ids[rows]
