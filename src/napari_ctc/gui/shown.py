"""What the window shows as predictions: one speaker's words, without those that a person is to judge blind.

Every view goes by `Session.shown` and by nothing else, so that what is hidden is hidden everywhere: in the table,
its order and its filters, in the gallery and on the canvas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_ctc.gui.rows import NOT_KNOWN, Status
from napari_ctc.gui.speakers import is_instant

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_ctc.gui.rows import Rows
    from napari_ctc.gui.speakers import HeadWords, Speaker


@dataclass(frozen=True, eq=False)
class Words:
    """What one speaker says of the open specimens: columns with a row for each.

    Parameters
    ----------
    speaker : Speaker or None
        None where nobody can say anything; stale words of an earlier one may be left.
    predicted : (n,) int16
        Places in the session's class names; -1 for nothing.
    probability : (n,) float32
        Of the predicted class.
    probabilities : (n, classes of the speaker) float32
        NaN where nothing was said.
    status : (n,) uint8
        Of each, as a `Status`.
    """

    speaker: Speaker | None
    predicted: NDArray[np.int16] = field(repr=False)
    probability: NDArray[np.float32] = field(repr=False)
    probabilities: NDArray[np.float32] = field(repr=False)
    status: NDArray[np.uint8] = field(repr=False)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that the columns of `probabilities` are for."""
        return () if self.speaker is None else self.speaker.classes

    def without(self, hidden: NDArray[np.bool_]) -> Words:
        """Leave out what is hidden, and what was said before of what failed; the status stays."""
        blank = hidden | (self.status == Status.FAILED)
        return replace(
            self,
            predicted=np.where(blank, np.int16(NOT_KNOWN), self.predicted),
            probability=np.where(blank, np.float32(np.nan), self.probability),
            probabilities=np.where(blank[:, None], np.float32(np.nan), self.probabilities),
        )


def words_of_network(rows: Rows, classifier: Speaker | None, by: int) -> Words:
    """Give what the classifier in use said, and what earlier ones said where it has not spoken yet.

    Parameters
    ----------
    rows : Rows
    classifier : Speaker or None
    by : int
        Its place in the list that `rows.by` refers to; -1 for none.
    """
    status = rows.status(by, None if classifier is None else classifier.channel_count)
    return Words(classifier, rows.predicted, rows.probability, rows.probabilities, status)


def words_of_head(rows: Rows, heard: HeadWords, names: Sequence[str]) -> Words:
    """Give what the instant head said; `names` are the session's class names."""
    speaker, probabilities = heard.speaker, heard.of(rows.ids)
    known = np.isfinite(probabilities).all(axis=1)
    codes = np.array([names.index(name) if name in names else NOT_KNOWN for name in speaker.classes], np.int16)
    best = np.where(known, np.nan_to_num(probabilities).argmax(axis=1), 0)
    predicted = np.where(known, codes[best], np.int16(NOT_KNOWN))
    known &= predicted != NOT_KNOWN  # a class was renamed a moment ago: the head follows in another
    probabilities[~known] = np.nan
    status = np.where(known, Status.CURRENT, Status.PENDING).astype(np.uint8)
    status[~known & (rows.unreadable != "")] = Status.FAILED
    status[rows.channels != speaker.channel_count] = Status.FAILED
    return Words(speaker, predicted, probabilities[np.arange(len(rows)), best], probabilities, status)


def reason_of(rows: Rows, index: int, status: Status, speaker: Speaker | None, digests: Sequence[str]) -> str:
    """Say in a sentence why a row has the status it has; `digests` are those that `rows.by` refers to."""
    if status is Status.FAILED and speaker is not None and rows.channels[index] != speaker.channel_count:
        who = "instant head" if is_instant(speaker) else "classifier"
        return f"The {who} needs {speaker.channel_count} channels and this specimen has {rows.channels[index]}."
    if is_instant(speaker):
        return {
            Status.PENDING: "Not measured yet.",
            Status.CURRENT: f"By the {speaker.name}, of the file as it was when it was measured.",
            Status.FAILED: str(rows.unreadable[index]),
        }[status]
    if status is Status.FAILED:
        return str(rows.unreadable[index] if speaker is None else rows.error[index])
    if status is Status.STALE and rows.changed[index]:
        return "The file changed after it was classified; it will be classified again."
    if status is Status.STALE:
        by = digests[rows.by[index]][:8]
        if speaker is not None and digests[rows.by[index]] == speaker.digest:
            return "Its class probabilities went when another classifier came; it will be classified again."
        now = f"now {speaker.digest[:8]} is" if speaker else "now none is"
        return f"An earlier classifier ({by}) said this; {now} in use."
    return {
        Status.NONE: "There is no classifier yet: train or load one, or label two classes.",
        Status.PENDING: "Not classified yet.",
        Status.CURRENT: "By the trained network in use, of the file as it is.",
    }[status]
