"""Labelling: what a person says of specimens is on the disk before the window shows it.

What is asked for is done in order: a key is looked at once all before it have been done and shown, so that it
means what the person saw. The waiting is done in the thread of `book`. Which key means what is in `keys`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.notifications import notification_manager, show_info, show_warning
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QWidget

from napari_ctc.data.history import Pick
from napari_ctc.data.journal import Folded, Journal
from napari_ctc.data.labels import Label
from napari_ctc.data.manifest import rebase
from napari_ctc.data.recheck import Rechecked, recheck
from napari_ctc.errors import CTCError
from napari_ctc.gui.book import Book, close, digests_of, in_turn
from napari_ctc.gui.jobs import start
from napari_ctc.gui.places import labels_place, remember_place
from napari_ctc.gui.rows import NOT_KNOWN, Status

if TYPE_CHECKING:
    from napari_ctc.data.history import Change
    from napari_ctc.gui.session import Session

_IDLE_MS = 3_000  # after the last label, the table is written
_SECONDS_BETWEEN_RECHECKS = 30

Then = Callable[[Any], object]


class Labelling(QWidget):
    """Puts labels on the disk and then into the session. Invisible; a child of the dock that shows them.

    Parameters
    ----------
    session : Session
    parent : QWidget
        When it goes, the tables are written and closed.
    """

    told = Signal(str)  # a sentence for the person; empty when the last one no longer holds
    places_changed = Signal()  # where labels are kept, or whether any can be given
    _answered = Signal(object, object, object)  # what to do then, a result, what went wrong

    def __init__(self, session: Session, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("labelling")
        self.hide()
        self._session = session
        self._books: dict[Path, Book] = {}
        self._opened: list[tuple[Journal, Book]] = []  # all of them, to be closed; written to in their thread
        self._asked: deque[Callable[[], object]] = deque()
        self._writing = self._left = False
        self._last_problem, self._rechecked, self._recheck = "", 0.0, None
        self._idle = QTimer(self)
        self._idle.setSingleShot(True)
        self._idle.setInterval(_IDLE_MS)
        self._idle.timeout.connect(self.fold)
        self._answered.connect(self._answer)
        session.specimens_changed.connect(self._follow_specimens)
        self._follow_specimens()

    # ---------------------------------------------------------------------------------- one after the other

    def do(self, act: Callable[[], object]) -> None:
        """Do what a person asks for, once all that was asked for before has been done and shown."""
        self._asked.append(act)
        self._go_on()

    @property
    def busy(self) -> bool:
        """Whether anything that was asked for is not done yet."""
        return self._writing or bool(self._asked)

    def _go_on(self) -> None:
        while self._asked and not self._writing and not self._left:
            self._asked.popleft()()

    def _write(self, work: Callable[[], Any], then: Then) -> None:
        """Do something with a journal in its thread, then show it here."""
        self._writing = True

        def run() -> None:
            result = problem = None
            try:
                result = work()
            except Exception as error:
                problem = error
            try:
                self._answered.emit(then, result, problem)
            except RuntimeError:  # the dock is gone; the journal has it
                return

        in_turn(run)

    def _answer(self, then: Then, result: Any, problem: Exception | None) -> None:
        self._writing = False
        if self._left:
            return
        if isinstance(problem, CTCError):
            self.refuse(str(problem))
        elif problem is not None:
            notification_manager.receive_error(type(problem), problem, problem.__traceback__)
        else:
            then(result)
        self._go_on()

    # -------------------------------------------------------------------------------------- what is labelled

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
        parts = [(book, own) for book in self._books.values() if (own := [one for one in ids if one in book.keys])]
        if refusal := next((book.refusal for book, _ in parts if book.refusal), ""):
            self.refuse(refusal)
            return
        visible = bool((session.status[list(indices)] == Status.CURRENT).any())
        pick = Pick("chosen", "visible" if visible else "none")
        said = {
            one: session.classes[code]
            for one, code in zip(ids, session.rows.predicted[list(indices)].tolist(), strict=True)
            if code != NOT_KNOWN
        }

        def work() -> list[tuple[Book, Sequence[Change], str]]:
            done = []
            for book, own in parts:
                specimens = [book.keys[one] for one in own]
                digests, problem = digests_of(specimens)
                predicted = {book.keys[one][0]: said[one] for one in own if one in said}
                keys = [key for key, _, _ in specimens]
                changes = give(book.journal, keys, pick=pick, predicted=predicted, digests=digests)
                done.append((book, changes, problem))
            return done

        def show(done: list[tuple[Book, Sequence[Change], str]]) -> None:
            self._take_back_problem()
            for book, changes, problem in done:
                self._show(book, changes)
                if problem:
                    self.refuse(problem)
            then()

        if parts:
            self._write(work, show)

    def undo(self, then: Callable[[int], object]) -> None:
        """Take the last step back, and go to the first specimen that it changed."""
        self._step(Journal.undo, "There is nothing to undo.", then)

    def redo(self, then: Callable[[int], object]) -> None:
        """Do the step again that was taken back last."""
        self._step(Journal.redo, "There is nothing to redo.", then)

    def _step(
        self, act: Callable[[Journal], Sequence[Change]], nothing: str, then: Callable[[int], object]
    ) -> None:
        book = self.book
        if book is None or book.refusal:
            self.refuse(book.refusal if book else "No specimens are open.")
            return

        def work() -> tuple[bool, Sequence[Change]]:
            steps = book.journal.history.done if act is Journal.undo else book.journal.history.undone
            return bool(steps), act(book.journal)

        def show(done: tuple[bool, Sequence[Change]]) -> None:
            any_step, changes = done
            self._take_back_problem()
            self._show(book, changes)
            here = [index for one in changes for identity in book.ids.get(one.key, [])
                    if (index := self._session.index_of(identity)) != NOT_KNOWN]  # fmt: skip
            if here:
                then(min(here))
            elif not any_step:
                self.told.emit(nothing)

        self._write(work, show)

    # ------------------------------------------------------------------------------------------ the classes

    def name_classes(self, names: Sequence[str], colours: dict[str, str] | None = None) -> None:
        """Say which classes there are, in the order of their keys, and in which colours."""
        chosen = {name: self._session.colour(name) for name in names} | (colours or {})
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

        def show(done: list[Sequence[Change] | None]) -> None:
            self._take_back_problem()
            for book, changes in zip(books, done, strict=True):
                self._show(book, changes or ())

        self._write(lambda: [work(book.journal) for book in books], show)

    # ------------------------------------------------------------------------------------------ the tables

    @property
    def book(self) -> Book | None:
        """The table that the current specimen belongs to, else the first; None for none."""
        current = self._session.current
        if 0 <= current < len(self._session):
            identity = int(self._session.rows.ids[current])
            for book in self._books.values():
                if identity in book.keys:
                    return book
        return next(iter(self._books.values()), None)

    def _follow_specimens(self) -> None:
        self.do(self._reconcile)

    def _reconcile(self) -> None:
        """Open the tables that the open specimens belong to, and close others."""
        session, first = self._session, 0
        wanted: dict[Path, Book] = {}
        for stack in session.stacks:
            path = labels_place(stack.manifest)
            known = self._books.get(path) or Book(path)
            book = wanted.setdefault(path, Book(path, known.journal, known.problem))
            book.hold(stack.manifest, session.rows.ids[first : first + len(stack.manifest)].tolist())
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

    def _open(self, path: Path) -> None:
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

        self._write(work, partial(self._take_up, book))

    def _take_up(self, book: Book, journal: Journal | CTCError) -> None:
        if isinstance(journal, CTCError):
            book.problem = str(journal)
            self.refuse(book.problem)
        else:
            book.journal, book.problem = journal, ""
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
        manifests = list({id(one): one for _, one, _ in book.keys.values()}.values())
        ids = np.array(sorted(book.keys), np.int64)
        own = np.flatnonzero(np.isin(self._session.rows.ids, ids))
        labelled = self._session.manifest(own).labelled()
        labelled = labelled.rows(np.flatnonzero(~labelled.table["path"].duplicated()))
        unsure = self._session.manifest(own[self._session.rows.unsure[own]])

        def work() -> None:
            if not path.exists() and len(labelled):
                labelled.write(path)
            with Journal(path) as journal:
                if journal.read_only:
                    raise CTCError(journal.read_only)
                journal.unsure(rebase(unsure.keys, unsure.root, path.parent))
            for manifest in manifests:
                remember_place(manifest, path)

        def then(_: None) -> None:
            self._reconcile()
            self.told.emit(f"Labels are kept in {path} from now on.")

        self._write(work, then)

    def fold(self) -> None:
        """Write the labels into their tables."""
        for path in self._books:
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
        if book.refusal:  # whoever had it may be done with it by now
            if book.journal is not None:
                in_turn(book.journal.close)
                book.journal = None
            self._open(path)
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
        if self._recheck is not None or not given or not book.keys:
            return
        layout = next(iter(book.keys.values()))[1].layout
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
        labels = {identity: change.now for change in changes for identity in book.ids.get(change.key, [])}
        self._take(labels)
        self._follow_classes()
        if fold:
            self._idle.start()

    def _show_known(self, book: Book) -> None:
        self._take(book.known())

    def _take(self, labels: dict[int, Label]) -> None:
        if labels:
            self._session.take_labels(np.array(list(labels), np.int64), list(labels.values()))

    def _follow_classes(self) -> None:
        """Let the session have the classes as the journals have them."""
        histories = [book.journal.history for book in self._books.values() if book.journal is not None]
        listed = tuple(dict.fromkeys(name for history in histories for name in history.listed))
        colours: dict[str, str] = {}
        for history in reversed(histories):
            colours |= history.colours
        if (listed, colours) != (self._session.listed, self._session.colours):
            self._session.name_classes(listed, colours)

    def refuse(self, sentence: str) -> None:
        """Say what is wrong: in the dock as long as it holds, and once in napari's own way."""
        if sentence != self._last_problem:
            show_warning(sentence)
        self._last_problem = sentence
        self.told.emit(sentence)

    def _take_back_problem(self) -> None:
        self._last_problem = ""
        self.told.emit("")

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
