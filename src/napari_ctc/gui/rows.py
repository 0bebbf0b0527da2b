"""The table behind the docks: a row for each open specimen, as numpy arrays that 100,000 rows do not slow down.

What a classifier said and what a person said stand in columns of their own. Whether a prediction is current is
never stored but worked out from who made it and from what, so that no old one can pass for a new one. Which
specimens are open is the business of `session`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

    from napari_ctc.data.manifest import Manifest

NOT_KNOWN = -1
TEXTS = ("error", "precision", "modified", "sha256")  # of what a classifier said


class Status(IntEnum):
    """What is known of a specimen's prediction."""

    NONE = 0  # there is no classifier
    PENDING = 1  # waits to be classified
    CURRENT = 2  # by the classifier in use, of the file as it is
    STALE = 3  # by another classifier, or the file changed since, or only the class is left of what was said
    FAILED = 4  # the file could not be read, or does not fit the classifier

    @property
    def word(self) -> str:
        """The word that the table shows."""
        return ("", "waiting", "current", "stale", "failed")[self]


@dataclass
class Rows:
    """Columns, all of one length.

    Parameters
    ----------
    ids : int64
        Names a specimen for as long as it is open, wherever it moves in the table.
    predicted, label : int16
        Places in the session's class names; -1 for none.
    unsure : bool
        Whether a person looked and could not tell.
    probability : float32
        Of the predicted class.
    probabilities : (n, classes) float32
        Of each class of the classifier in use; NaN where another classifier spoke, or none.
    by : int16
        Which classifier: its place in the session's list of digests; -1 for none.
    changed : bool
        Whether the file is another one than the prediction was made from.
    channels : int16
    name, source, author, error, precision, modified, sha256 : text
        The author is whoever gave the label, as a manifest's column `by` has it.
    unreadable : text
        Why the file could not be read when it was last looked at for anything but a classifier, which has `error`.
    bytes : int64
        Size of the file that the prediction was made from; -1 for not known.
    """

    ids: NDArray[np.int64]
    predicted: NDArray[np.int16]
    label: NDArray[np.int16]
    unsure: NDArray[np.bool_]
    probability: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    by: NDArray[np.int16]
    changed: NDArray[np.bool_]
    channels: NDArray[np.int16]
    name: NDArray[Any]
    source: NDArray[Any]
    author: NDArray[Any]
    error: NDArray[Any]
    precision: NDArray[Any]
    bytes: NDArray[np.int64]
    modified: NDArray[Any]
    sha256: NDArray[Any]
    unreadable: NDArray[Any]

    def __len__(self) -> int:
        """Return the number of specimens."""
        return len(self.ids)

    @classmethod
    def blank(cls, first_id: int, count: int, classes: int, channels: int = 0) -> Rows:
        """Make rows of which nothing is known."""
        empty = np.full(count, "", dtype=object)
        text = {name: empty.copy() for name in ("name", "source", "author", "unreadable", *TEXTS)}
        return cls(
            ids=np.arange(first_id, first_id + count, dtype=np.int64),
            predicted=np.full(count, NOT_KNOWN, np.int16),
            label=np.full(count, NOT_KNOWN, np.int16),
            unsure=np.zeros(count, bool),
            probability=np.full(count, np.nan, np.float32),
            probabilities=np.full((count, classes), np.nan, np.float32),
            by=np.full(count, NOT_KNOWN, np.int16),
            changed=np.zeros(count, bool),
            channels=np.full(count, channels, np.int16),
            bytes=np.full(count, NOT_KNOWN, np.int64),
            **text,
        )

    @classmethod
    def of(cls, manifest: Manifest, first_id: int, names: Sequence[str], classes: int) -> Rows:
        """Make the rows of specimens just opened; `names` are the session's class names."""
        rows = cls.blank(first_id, len(manifest), classes, manifest.layout.channels)
        rows.name[:] = manifest.table["path"].to_numpy(dtype=object)
        rows.source[:] = manifest.table["source"].to_numpy(dtype=object)
        rows.author[:] = manifest.table["by"].to_numpy(dtype=object)
        rows.label[:] = manifest.labels(names)
        return rows

    @classmethod
    def joined(cls, parts: Sequence[Rows]) -> Rows:
        """Put rows one below the other."""
        if not parts:
            return cls.blank(0, 0, 0)
        return cls(
            **{one.name: np.concatenate([getattr(part, one.name) for part in parts]) for one in fields(cls)}
        )

    def part(self, which: slice) -> Rows:
        """Return some rows."""
        return Rows(**{one.name: getattr(self, one.name)[which] for one in fields(self)})

    def rename(self, old: Sequence[str], new: Sequence[str]) -> None:
        """Let the class codes follow when the session's class names change."""
        places = {name: place for place, name in enumerate(new)}
        translated = np.array([*(places.get(name, NOT_KNOWN) for name in old), NOT_KNOWN], np.int16)
        self.predicted = translated[self.predicted]
        self.label = translated[self.label]

    def status(self, by: int, channels: int | None) -> NDArray[np.uint8]:
        """Work out each row's `Status`.

        Parameters
        ----------
        by : int
            The classifier in use; -1 for none.
        channels : int or None
            How many channels it needs; None without a classifier.
        """
        status = np.full(len(self), Status.NONE if channels is None else Status.PENDING, np.uint8)
        status[self.predicted != NOT_KNOWN] = Status.STALE
        if channels is None:
            status[(status == Status.NONE) & (self.unreadable != "")] = Status.FAILED
        else:
            # While another classifier was in use, there was no place for the probabilities of this one's classes.
            dropped = np.isnan(self.probabilities).any(axis=1) & ~np.isnan(self.probability)
            own = (self.by == by) & ~self.changed & ~dropped
            status[own & (self.predicted != NOT_KNOWN)] = Status.CURRENT
            status[own & (self.error != "")] = Status.FAILED
            status[self.channels != channels] = Status.FAILED
        return status

    def take_in(
        self,
        index: NDArray[np.integer],
        table: pd.DataFrame,
        names: Sequence[str],
        classes: Sequence[str],
        by: int,
    ) -> None:
        """Write down what a classifier said of the specimens at `index`.

        Parameters
        ----------
        table : pandas.DataFrame
            A row for each, with the columns of `Predictions`.
        names, classes : sequences of str
            The session's class names, and the classifier's.
        by : int
            Which classifier.
        """
        places = {name: place for place, name in enumerate(names)}
        self.predicted[index] = [places.get(name, NOT_KNOWN) for name in table["predicted"]]
        self.probability[index] = table["probability"].to_numpy(np.float32)
        self.probabilities[index] = table[[f"p_{name}" for name in classes]].to_numpy(np.float32)
        self.by[index] = by
        self.changed[index] = False
        self.bytes[index] = table["bytes"].fillna(NOT_KNOWN).to_numpy(np.int64)
        for name in TEXTS:
            getattr(self, name)[index] = table[name].to_numpy(dtype=object)
