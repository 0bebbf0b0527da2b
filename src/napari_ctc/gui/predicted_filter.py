"""Which specimens the table of predicted classes shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_ctc.gui.rows import NOT_KNOWN

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_ctc.gui.rows import Rows
    from napari_ctc.gui.shown import Words

ANY = "any"
NOT_PREDICTED = "not predicted"
AT_ODDS = "unlike the label"
LABELLED, UNLABELLED, UNSURE = "labelled", "not labelled", "unsure"


@dataclass(frozen=True)
class Filter:
    """Which specimens the table shows.

    Parameters
    ----------
    text : str
        Part of the name or source, in any case.
    predicted : str
        A class name, after ``class:``; or `ANY`, `NOT_PREDICTED`, `AT_ODDS`.
    least : float in [0, 1]
        The least probability of the predicted class; 0 lets unpredicted ones through.
    label : str
        What a person said: a class name, after ``class:``; or `ANY`, `LABELLED`, `UNLABELLED`, `UNSURE`. One that
        was called unsure is neither labelled nor not.
    source : str
        A slide, patient or run, after ``source:``, which alone means none; or `ANY`.
    among : frozenset of int, optional
        The ids of the specimens to choose from.
    """

    text: str = ""
    predicted: str = ANY
    least: float = 0.0
    label: str = ANY
    source: str = ANY
    among: frozenset[int] | None = None

    @property
    def by_prediction(self) -> bool:
        """Whether predictions have a say in it."""
        return self.predicted != ANY or self.least > 0

    @property
    def active(self) -> bool:
        """Whether anything may be left out."""
        return self != Filter()

    def passing(self, rows: Rows, classes: Sequence[str], shown: Words) -> NDArray[np.bool_]:
        """Tell which rows pass.

        Parameters
        ----------
        rows : Rows
        classes : sequence of str
            The names that the codes in `rows` and `shown` refer to.
        shown : Words
            The predictions that the table shows.
        """
        predicted = shown.predicted
        passing = np.ones(len(rows), bool)
        if self.predicted == NOT_PREDICTED:
            passing &= predicted == NOT_KNOWN
        elif self.predicted == AT_ODDS:
            passing &= (rows.label != NOT_KNOWN) & (predicted != NOT_KNOWN) & (rows.label != predicted)
        elif self.predicted != ANY:
            passing &= predicted == _code(self.predicted, classes)
        if self.label == LABELLED:
            passing &= rows.label != NOT_KNOWN
        elif self.label == UNLABELLED:
            passing &= (rows.label == NOT_KNOWN) & ~rows.unsure
        elif self.label == UNSURE:
            passing &= rows.unsure
        elif self.label != ANY:
            passing &= rows.label == _code(self.label, classes)
        if self.least > 0:
            passing &= (predicted != NOT_KNOWN) & (shown.probability >= np.float32(self.least))
        if self.source != ANY:
            passing &= rows.source == self.source.removeprefix("source:")
        if self.among is not None:
            passing &= np.isin(rows.ids, np.fromiter(self.among, np.int64, len(self.among)))
        if text := self.text.casefold():
            passing &= np.fromiter(
                (
                    text in name.casefold() or text in source.casefold()
                    for name, source in zip(rows.name, rows.source, strict=True)
                ),
                bool,
                len(rows),
            )
        return passing


def _code(chosen: str, classes: Sequence[str]) -> int:
    """Give the place of a class that was chosen by name; one that no row has for a class that is gone."""
    name = chosen.removeprefix("class:")
    return classes.index(name) if name in classes else -2
