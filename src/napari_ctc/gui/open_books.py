"""The tables of labels that the open specimens belong to: opened, followed, written and closed.

What is written into them is the business of `labelling`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np
from napari.utils.notifications import show_info
from qtpy.QtCore import QTimer, Signal

from napari_ctc.data.journal import Journal
from napari_ctc.data.labels import Label
from napari_ctc.data.manifest import LABEL_FILES
from napari_ctc.data.open_journal import Folded
from napari_ctc.data.recheck import Rechecked, recheck
from napari_ctc.errors import CTCError
from napari_ctc.gui.book import Book, close, in_turn, take_along
from napari_ctc.gui.jobs import start
from napari_ctc.gui.places import labels_place, remember_place
from napari_ctc.gui.turns import Turns

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qtpy.QtWidgets import QWidget

    from napari_ctc.data.history import Change
    from napari_ctc.gui.session import Session

_IDLE_MS = 3_000  # after the last label, the table is written
_SECONDS_BETWEEN_RECHECKS = 30


class OpenBooks(Turns):
    """Keeps a book open for each table, and the session as the books have it.

    Parameters
    ----------
    session : Session
    parent : QWidget
        When it goes, the tables are written and closed.
    """

    places_changed = Signal()  # where labels are kept, or whether any can be given

    def __init__(self, session: Session, parent: QWidget) -> None:
        super().__init__(parent)
        self._session = session
        self._books: dict[Path, Book] = {}
        self._opened: list[tuple[Journal, Book]] = []  # all of them, to be closed; written to in their thread
        self._rechecked, self._recheck = 0.0, None
        self._idle = QTimer(self)
        self._idle.setSingleShot(True)
        self._idle.setInterval(_IDLE_MS)
        self._idle.timeout.connect(self.fold)
        session.specimens_changed.connect(self._follow_specimens)
        self._follow_specimens()

    @property
    def book(self) -> Book | None:
        """The table that the current specimen belongs to, else the first; None for none."""
        current = self._session.current
        if 0 <= current < len(self._session):
            identity = int(self._session.rows.ids[current])
            for book in self._books.values():
                if identity in book:
                    return book
        return next(iter(self._books.values()), None)

    def tables(self) -> set[Path]:
        """Give the tables that labels of the open specimens are in, or would be read from if they were there."""
        manifests = [stack.manifest for stack in self._session.stacks]
        read = [one.root / name for one in manifests for name in LABEL_FILES]
        read += [one.labels_file for one in manifests]
        return {path.resolve() for path in (*self._books, *read)}

    def _follow_specimens(self) -> None:
        self.do_soon(self._reconcile)

    def _reconcile(self) -> None:
        """Open the tables that the open specimens belong to, and close others."""
        session, first = self._session, 0
        wanted: dict[Path, Book] = {}
        for stack in session.stacks:
            path = labels_place(stack.manifest)
            known = self._books.get(path) or Book(path)
            book = wanted.setdefault(path, Book(path, known.journal, known.problem))
            book.hold(stack.manifest, int(session.rows.ids[first]))
            first += len(stack.manifest)
        for path, book in self._books.items():
            if path not in wanted and book.journal is not None:
                in_turn(partial(close, book.journal, book))
        self._books = wanted
        for book in wanted.values():
            if book.journal is None:
                self._asked.appendleft(partial(self._open, book.path))
            else:
                self._show_known(book)
        self._follow_classes()
        self.places_changed.emit()

    def _open(self, path: Path, refused: str = "") -> None:
        """Open a table; `refused` is why it could not be labelled in before."""
        if (book := self._books.get(path)) is None or book.journal is not None:
            return
        opened = self._opened

        def work() -> Journal | CTCError:
            try:
                journal = Journal(path)
            except CTCError as problem:
                return problem
            opened.append((journal, book))
            return journal

        self._write(work, partial(self._take_up, book, refused))

    def _take_up(self, book: Book, refused: str, journal: Journal | CTCError) -> None:
        if isinstance(journal, CTCError):
            book.problem = str(journal)
            self.refuse(book.problem)
        else:
            book.journal, book.problem = journal, ""
            if journal.read_only:
                self.refuse(journal.read_only)  # before a person labels in vain
            elif refused and refused == self._last_problem:
                self._take_back_problem()
            for note in journal.notes:
                show_info(note)
            self._show_known(book)
            self._follow_classes()
            self._look_at_specimens(book)
            self._idle.start()
        self.places_changed.emit()

    def move_to(self, path: Path) -> None:
        """Keep the labels of the current specimen's set in another table from now on."""
        book = self.book
        if book is None or path == book.path:
            return
        manifests = [one.manifest for one in book.held]
        own = np.flatnonzero(np.isin(self._session.rows.ids, book.ids))
        labelled = self._session.manifest(own).labelled()
        labelled = labelled.rows(np.flatnonzero(~labelled.table["path"].duplicated()))
        unsure = self._session.manifest(own[self._session.rows.unsure[own]])

        names = self._session.keyed
        classes = dict(zip(names, self._session.palette(names), strict=True))

        def work() -> tuple[str, ...]:
            notes = take_along(labelled, unsure, classes, path)
            for manifest in manifests:
                remember_place(manifest, path)
            return notes

        def then(notes: tuple[str, ...]) -> None:
            self._reconcile()
            self.told.emit(" ".join([f"Labels are kept in {path} from now on.", *notes]))

        self._write(work, then)

    def fold(self) -> None:
        """Write the labels into their tables."""
        for path in () if self._left else self._books:
            self.do(partial(self._fold, path))

    def _fold(self, path: Path) -> None:
        book = self._books.get(path)
        if book is not None and not book.refusal:
            self._write(lambda: book.journal.fold(book.sources), partial(self._folded, book))

    def _folded(self, book: Book, folded: Folded) -> None:
        for note in folded.notes:
            show_info(note)
            self.told.emit(note)
        self._show(book, folded.changes, fold=False)

    def look(self) -> None:
        """See what other programs did to tables and specimens, as when the window gets the focus."""
        for path in self._books:
            self.do(partial(self._look, path))

    def _look(self, path: Path) -> None:
        book = self._books.get(path)
        if book is None:
            return
        if refused := book.refusal:  # whoever had it may be done with it by now
            if book.journal is not None:
                in_turn(book.journal.close)
                book.journal = None
            self._open(path, refused)
            return
        self._write(lambda: book.journal.look(), partial(self._looked, book))

    def _looked(self, book: Book, folded: Folded) -> None:
        self._folded(book, folded)
        if monotonic() - self._rechecked > _SECONDS_BETWEEN_RECHECKS:
            self._look_at_specimens(book)

    def _look_at_specimens(self, book: Book) -> None:
        """Find out in the background whether specimens are still what they were when they were labelled."""
        history = book.journal.history
        given = [key for key, label in history.given.items() if label.name or label.unsure]
        if self._recheck is not None or not given or not book.held:
            return
        layout = book.held[0].manifest.layout
        self._recheck = start(
            recheck(given, dict(history.digests), book.path.parent, layout),
            parent=self,
            name="Looking at labelled specimens",
            on_result=self._hear_recheck,
            on_finished=self._end_recheck,
            quiet=True,
        )

    def _hear_recheck(self, found: Rechecked | None) -> None:
        if found is not None and found.sentence:
            self.refuse(found.sentence)

    def _end_recheck(self) -> None:
        self._recheck, self._rechecked = None, monotonic()

    # ---------------------------------------------------------------------------------------- showing it

    def _show(self, book: Book, changes: Iterable[Change], fold: bool = True) -> None:
        """Show what has changed, and write the table once the person rests."""
        labels = {identity: change.now for change in changes for identity in book.ids_of(change.key)}
        self._take(np.array(list(labels), np.int64), list(labels.values()))
        self._follow_classes()
        if fold:
            self._idle.start()

    def _show_known(self, book: Book) -> None:
        self._take(*book.known())

    def _take(self, ids: NDArray[np.int64], labels: list[Label]) -> None:
        if labels:
            self._session.take_labels(ids, labels)

    def _follow_classes(self) -> None:
        """Let the session have the classes as the journals have them."""
        histories = [book.journal.history for book in self._books.values() if book.journal is not None]
        listed = tuple(dict.fromkeys(name for history in histories for name in history.listed))
        colours: dict[str, str] = {}
        for history in reversed(histories):
            colours |= history.colours
        if (listed, colours) != (self._session.listed, self._session.colours):
            self._session.name_classes(listed, colours)

    def leave(self) -> None:
        """Write and close all tables, and let go of the session."""
        if self._left:
            return
        self._left = True
        self._session.specimens_changed.disconnect(self._follow_specimens, missing_ok=True)
        self._idle.stop()
        if self._recheck is not None:
            self._recheck.stop()
        opened, books = self._opened, dict(self._books)

        def close_all() -> None:
            for journal, book in opened:
                close(journal, books.get(book.path, book))

        in_turn(close_all)
