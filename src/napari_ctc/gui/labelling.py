"""Labelling: what a person says of specimens is on the disk before the window shows it.

The tables are kept in `open_books`, and the order in `turns`. Which key means what is in `keys`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from napari_ctc.data.history import Pick
from napari_ctc.data.journal import Journal
from napari_ctc.gui.book import Book, digests_of
from napari_ctc.gui.open_books import OpenBooks
from napari_ctc.gui.rows import NOT_KNOWN, Status
from napari_ctc.gui.steps import Steps, next_step
from napari_ctc.gui.turns import Then

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

    from napari_ctc.data.history import Change
    from napari_ctc.gui.session import Session


class Labelling(OpenBooks):
    """Puts labels on the disk and then into the session. Invisible; a child of the dock that shows them.

    Attributes
    ----------
    pick_of : callable
        Says of a specimen's id how it came before the person's eyes, and in which round, as `Pick` has them.
    """

    pick_of: Callable[[int], tuple[str, int]] = staticmethod(lambda identity: ("chosen", 0))

    def __init__(self, session: Session, parent: QWidget) -> None:
        self._steps = Steps()
        super().__init__(session, parent)

    @property
    def books(self) -> list[Book]:
        """The tables of the open specimens, that of the current one first."""
        first = self.book
        return sorted(self._books.values(), key=lambda book: book is not first)

    def label(self, indices: Sequence[int], name: str, then: Callable[[], object]) -> None:
        """Label specimens, and do something once that is shown."""
        names = tuple(dict.fromkeys([*self._session.keyed, name]))
        colours = {one: self._session.colour(one) for one in names}

        def give(journal: Journal, keys: list[str], **known: Any) -> Sequence[Change]:
            if name not in journal.history.listed:  # from now on, no key changes its class
                journal.set_classes(names, colours)
            return journal.label(keys, name, **known)

        self._give(indices, give, then)

    def unsure(self, indices: Sequence[int], then: Callable[[], object]) -> None:
        """Record that a person looked at specimens and could not tell."""
        self._give(indices, Journal.unsure, then)

    def clear(self, indices: Sequence[int], then: Callable[[], object]) -> None:
        """Take the labels of specimens away."""
        self._give(indices, lambda journal, keys, pick, **_: journal.clear(keys, pick), then)

    def _give(
        self, indices: Sequence[int], give: Callable[..., Sequence[Change]], then: Callable[[], object]
    ) -> None:
        session = self._session
        ids = session.rows.ids[list(indices)].tolist()
        parts = [(book, own) for book in self._books.values() if (own := [one for one in ids if one in book])]
        if refusal := next((book.refusal for book, _ in parts if book.refusal), ""):
            self.refuse(refusal)
            return
        how, number = self.pick_of(ids[0]) if len(ids) == 1 else ("chosen", 0)
        current = session.status[list(indices)] == Status.CURRENT
        visible = bool((current & (session.shown.predicted[list(indices)] != NOT_KNOWN)).any())
        pick = Pick(how, "visible" if visible else "hidden" if current.any() else "none", number)
        said = {
            one: session.classes[code]
            for one, code in zip(ids, session.words.predicted[list(indices)].tolist(), strict=True)
            if code != NOT_KNOWN
        }
        own_of = {book.path: own for book, own in parts}

        def act(book: Book) -> tuple[Sequence[Change], str]:
            own = own_of[book.path]
            specimens = [book.specimen(one) for one in own]
            digests, problem = digests_of(specimens)
            keys = [key for key, _, _ in specimens]
            predicted = {key: said[one] for key, one in zip(keys, own, strict=True) if one in said}
            return give(book.journal, keys, pick=pick, predicted=predicted, digests=digests), problem

        def show(done: list[tuple[Book, tuple[Sequence[Change], str]]]) -> None:
            self._take_back_problem()
            for book, (changes, problem) in done:
                self._show(book, changes)
                if problem:
                    self.refuse(problem)
            then()

        if parts:
            self._write_step([book for book, _ in parts], act, show)

    def _write_step(self, books: Sequence[Book], act: Callable[[Book], Any], show: Then) -> None:
        """Do the same in several tables, as one step that is undone as one; then show what came of it in each."""

        def work() -> list[tuple[Book, Any]]:
            done, step = [], {}
            try:
                for book in books:
                    last = book.journal.history.last
                    done.append((book, act(book)))
                    if book.journal.history.last > last:
                        step[book.path] = book.journal.history.last
            finally:  # what is in a journal can be undone, although another one may have failed
                self._steps.add(step)
            return done

        self._write(work, show)

    def undo(self, then: Callable[[int], object]) -> None:
        """Take the last step back in all tables that it touched, and go to the first specimen that it changed."""
        self._step(Journal.undo, "There is nothing to undo.", then)

    def redo(self, then: Callable[[int], object]) -> None:
        """Do the step again that was taken back last."""
        self._step(Journal.redo, "There is nothing to redo.", then)

    def _step(
        self, act: Callable[[Journal], Sequence[Change]], nothing: str, then: Callable[[int], object]
    ) -> None:
        back = act is Journal.undo
        books = self._steps.touched(self._books.values(), back) or self.books[:1]
        if not books or (refusal := next((book.refusal for book in books if book.refusal), "")):
            self.refuse(refusal if books else "No specimens are open.")
            return

        def work() -> list[tuple[Book, Sequence[Change]]]:
            done, step = [], {}
            try:
                for book in books:
                    if (one := next_step(book, back)) is not None:
                        done.append((book, act(book.journal)))
                        step[book.path] = one.number
            finally:
                self._steps.move(step, back)
            return done

        def show(done: list[tuple[Book, Sequence[Change]]]) -> None:
            self._take_back_problem()
            for book, changes in done:
                self._show(book, changes)
            here = [index for book, changes in done for one in changes for identity in book.ids_of(one.key)
                    if (index := self._session.index_of(identity)) != NOT_KNOWN]  # fmt: skip
            if here:
                then(min(here))
            elif not done:
                self.told.emit(nothing)

        self._write(work, show)

    # ------------------------------------------------------------------------------------------ the classes

    def name_classes(self, names: Sequence[str], colours: dict[str, str] | None = None) -> None:
        """Say which classes there are, in the order of their keys, and in which colours."""
        chosen = dict(zip(names, self._session.palette(names), strict=True)) | (colours or {})
        self._on_journals(lambda journal: journal.set_classes(names, chosen))

    def rename(self, old: str, new: str) -> None:
        """Rename a class, or merge it into another."""
        names = self._session.keyed
        colours = {name: self._session.colour(name) for name in names}

        def work(journal: Journal) -> Sequence[Change]:
            if old not in journal.history.listed:
                journal.set_classes(names, colours)
            return journal.rename_class(old, new)

        self._on_journals(work)

    def _on_journals(self, work: Callable[[Journal], Sequence[Change] | None]) -> None:
        """Do the same in the journals of all open tables."""
        books = list(self._books.values())
        if not books or (refusal := next((book.refusal for book in books if book.refusal), "")):
            self.refuse(refusal if books else "Open specimens first; then name their classes.")
            return

        def show(done: list[tuple[Book, Sequence[Change] | None]]) -> None:
            self._take_back_problem()
            for book, changes in done:
                self._show(book, changes or ())

        self._write_step(books, lambda book: work(book.journal), show)
