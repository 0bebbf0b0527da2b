"""The steps of labelling in the order that they were done in, over all tables.

Each table's journal knows its own steps, also those of yesterday, but not which one came first in the window, nor
that one step touched several tables. That is kept here for as long as the dock is open.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_ctc.data.history import Step
    from napari_ctc.gui.book import Book

Numbers = dict[Path, int]
"""A step by its number in the journal of each table that it touched."""


class Steps:
    """What can be undone and redone, the next one last."""

    def __init__(self) -> None:
        self._done: list[Numbers] = []
        self._undone: list[Numbers] = []

    def add(self, step: Numbers) -> None:
        """Note a step that was done; what was undone before it is not done again."""
        if step:
            self._done.append(dict(step))
            self._undone.clear()

    def move(self, step: Numbers, back: bool) -> None:
        """Note that a step was undone, or done again; a table that was closed meanwhile keeps its part."""
        source, target = (self._done, self._undone) if back else (self._undone, self._done)
        for one in source:
            for path in [path for path, number in one.items() if step.get(path) == number]:
                del one[path]
        source[:] = filter(None, source)
        if step:
            target.append(dict(step))

    def touched(self, books: Collection[Book], back: bool) -> list[Book]:
        """Give those tables that the next step to undo, or to redo, touched.

        None where all steps that are left are of an earlier day: their order is each table's own.
        """
        for step in reversed(self._done if back else self._undone):
            numbers = ((book, next_step(book, back)) for book in books)
            if found := [book for book, one in numbers if one is not None and step.get(book.path) == one.number]:
                return found
        return []


def next_step(book: Book, back: bool) -> Step | None:
    """Give the step of a table that is undone next, or redone; None for none."""
    if book.journal is None:
        return None
    history = book.journal.history
    return next(reversed(history.done if back else history.undone), None)
