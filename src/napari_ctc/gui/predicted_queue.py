"""The line "show next": goes to the specimen that is worth a label most, and says how far one has come.

The arithmetic of it is in `review.loop`, the measuring in `measuring`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QWidget

from napari_ctc.gui.instant import Instant
from napari_ctc.gui.measuring import MOST, Measuring
from napari_ctc.gui.predicted_filters import keep_narrow
from napari_ctc.gui.rows import NOT_KNOWN
from napari_ctc.review.hunt import SURE_FROM
from napari_ctc.review.loop import Turn, take_turn
from napari_ctc.review.queue import ORDERS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_ctc.gui.book import Book
    from napari_ctc.gui.giving_way import Hands
    from napari_ctc.gui.labelling import Labelling
    from napari_ctc.gui.session import Session

    _Found = tuple[Turn, int, NDArray[np.int64], Book]

KEY = "N"
_FEWEST = "fewest labels"
_WORDS = {
    "rare": "most likely rare",
    "mixed": "rare, sometimes uncertain",
    "uncertain": "most uncertain",
    "unlike": "most unlike the labelled",
    "random": "drawn at random",
}


class QueueRow(QWidget):
    """Chooses what to look at next.

    Parameters
    ----------
    session : Session
    labelling : Labelling
    parent : QWidget
    hands : Hands, optional
        Of the person that measuring gives way to.
    """

    came = Signal()  # what the queue brings next, or that there is nothing

    def __init__(
        self, session: Session, labelling: Labelling, parent: QWidget, hands: Hands | None = None
    ) -> None:
        super().__init__(parent)
        self.setObjectName("queue")
        self._session, self._labelling = session, labelling
        self.measuring = Measuring(session, self, hands)
        self._skipped: set[int] = set()  # ids of specimens that were put off
        self._shown_id = NOT_KNOWN  # the specimen that the queue brought
        self._drawn: set[int] = set()  # ids of specimens that it brought to be judged blind
        self.instant = Instant(session, self.measuring, self)
        self._labels = 0  # that the last turn went by
        self._said = ""
        self._turn: Turn | None = None
        self._told_of: Book | None = None  # whose labels the last turn's figures are of; None once they changed
        self._build()
        self.measuring.progressed.connect(self.refresh)
        labelling.pick_of = self.pick_of
        session.specimens_changed.connect(self._forget)
        session.current_changed.connect(self._follow_current)
        session.labels_changed.connect(self._labels_changed)

    def _build(self) -> None:
        self.button = QPushButton(f"Show next ({KEY})", self)
        self.button.setObjectName("showNext")
        self.button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.button.setToolTip(
            f"Goes to the specimen that is worth a label most (key {KEY}). Label it, and the next one comes. "
            "One in five is drawn at random, with its prediction hidden: only these tell how many may be unseen"
        )
        self.button.clicked.connect(lambda: self._labelling.do(self.next))
        self.order = QComboBox(self)
        self.order.setObjectName("queueOrder")
        self.order.setToolTip(
            "Which specimens come first; finding a rare class took the fewest labels with the first"
        )
        for name in ORDERS:
            self.order.addItem(_WORDS[name], name)
        self.rare = QComboBox(self)
        self.rare.setObjectName("rareClass")
        self.rare.setToolTip(
            "The class that you look for. By itself it is the one that has the fewest labels when the hunt begins "
            f"({SURE_FROM} labels or more); it stays the same while you find more of it"
        )
        keep_narrow(self.rare)
        self.hidden = QCheckBox("hide predictions", self)
        self.hidden.setObjectName("hidePredictions")
        self.hidden.setToolTip("Shows no prediction anywhere, so that your labels are your own")
        self.hidden.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.hidden.toggled.connect(self._session.conceal_all)
        self.text = QLabel(self)
        self.text.setObjectName("queueText")
        self.text.setWordWrap(True)
        self.text.setMinimumHeight(2 * self.text.fontMetrics().lineSpacing())  # a second line moves nothing
        self.text.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        for widget in (self.button, self.order, self.rare, self.hidden):
            row.addWidget(widget)
        row.addWidget(self.text, 1)
        self.refresh()

    # ------------------------------------------------------------------------------------------ what is shown

    def refresh(self) -> None:
        """Offer the classes there are, and say how far one has come."""
        names = self._session.keyed
        offered = [self.rare.itemData(place) for place in range(1, self.rare.count())]
        if not self.rare.count() or offered != list(names):
            chosen = self.rare.currentData()
            self.rare.clear()
            self.rare.addItem(_FEWEST, "")
            for name in names:
                self.rare.addItem(name, name)
            self.rare.setCurrentIndex(max(self.rare.findData(chosen), 0))
        turn = self._turn if self._told_of is not None else None
        hunted = turn.rare if turn is not None else ""
        self.rare.setItemText(0, f"{_FEWEST}: {hunted}" if hunted and not self.rare.currentData() else _FEWEST)
        text = " · ".join(part for part in (self._said, *self._progress()) if part)
        self.text.setText(text)
        learnt = f"The queue goes by {self._labels:,} labels." if turn is not None and self._labels else ""
        shares = turn.shares if turn is not None else ""
        self.text.setToolTip("\n".join(part for part in (text, learnt, shares) if part))

    def _progress(self) -> list[str]:
        total, done = len(self._session), self.measuring.done
        if total > MOST:
            return [f"the queue works for up to {MOST:,} open specimens"]
        parts = [f"{done:,} of {total:,} measured"] if self.measuring.running and done < total else []
        if self._turn is not None and self._told_of is not None:
            parts = [self._turn.bound, self._turn.hits, *parts]
        return parts

    # ------------------------------------------------------------------------------------- what a person does

    @property
    def at_work(self) -> bool:
        """Whether the specimen on the canvas came from the queue."""
        current = self._session.current
        return current != NOT_KNOWN and int(self._session.rows.ids[current]) == self._shown_id

    def pick_of(self, identity: int) -> tuple[str, int]:
        """Say how a specimen came before the person's eyes, and in which round: as in `Pick`."""
        if identity == self._shown_id and self._turn is not None and self._turn.next is not None:
            return self._turn.next.pick.how, self._turn.next.pick.round
        return "chosen", 0

    def skip(self) -> None:
        """Put the specimen of the queue off, and go to the next."""
        self._skipped.add(self._shown_id)
        self.next()

    def next(self) -> None:
        """Go to the next of the queue; a key that is pressed meanwhile waits for it."""
        book = self._labelling.book
        if book is None or book.refusal:
            self._labelling.refuse(book.refusal if book else "Open specimens first.")
            return
        if not self.measuring.table.values.shape[1]:
            self._tell_nothing()
            return
        self.instant.ask()
        books = [book for book in self._labelling.books if not book.refusal]
        asked = {"rare": self.rare.currentData() or "", "order": self.order.currentData()}
        skipped = set(self._skipped)

        def work() -> _Found | None:
            lesson, found = self.instant.newest(), []
            if lesson is None:
                return None
            for book in books:  # no further than the first that has something left
                keys, ids = book.files
                learnt, late = lesson.of(ids), {book.specimen(one)[0] for one in skipped if one in book}
                turn = take_turn(book.journal.history, keys, learnt, lesson.classes, skipped=late, **asked)
                found.append((turn, learnt.labels, ids, book))
                if turn.next is not None and keys[turn.next.row] not in late:
                    return found[-1]
            return next((one for one in found if one[0].next is not None), found[0])

        self._labelling.ask(work, self._show)

    def _show(self, found: _Found | None) -> None:
        if found is None:
            return
        (turn, self._labels, ids, book), self._said = found, ""
        self._turn = turn
        identity = int(ids[turn.next.row]) if turn.next is not None else NOT_KNOWN
        index = self._session.index_of(identity)
        if index == NOT_KNOWN:
            self._tell_nothing()
        else:
            self._shown_id = identity
            if turn.next.pick.how == "random":
                self._drawn.add(identity)
            self._conceal()  # before it is on the canvas, so that no prediction flashes up
            self._session.go_to(index)
        self._told_of = book
        self.refresh()
        self.came.emit()

    def _tell_nothing(self) -> None:
        wait = "specimens are still being measured: press again in a moment" if self.measuring.running else ""
        self._said = wait or "nothing is left to look at"
        self.refresh()

    def _follow_current(self, _index: int) -> None:
        if not self.at_work:
            self._shown_id = NOT_KNOWN
            self._conceal()
        if self._told_of not in (None, self._labelling.book):
            self._tell_no_more()

    def _labels_changed(self, indices: NDArray[np.intp]) -> None:
        self._conceal()
        if not (self.at_work and indices.tolist() == [self._session.current]):  # else the next turn comes at once
            self._tell_no_more()

    def _tell_no_more(self) -> None:
        """Take back the figures of the last turn, which are of other labels than those that stand here now."""
        self._told_of = None
        self.refresh()

    def _conceal(self) -> None:
        """Hide what was drawn until it is judged, also where a person walks away from it or puts it off."""
        rows = self._session.rows
        here, _ = self._session.places_of(np.array(list(self._drawn), np.int64))
        # What was judged a moment ago stays hidden until the next one comes: painting it twice would hold that up.
        blind = (rows.label[here] == NOT_KNOWN) & ~rows.unsure[here] | (rows.ids[here] == self._shown_id)
        self._session.conceal(rows.ids[here[blind]].tolist())

    def _forget(self) -> None:
        self._shown_id, self._turn, self._told_of, self._said = NOT_KNOWN, None, None, ""
        self._skipped.clear()
        self.refresh()

    def leave(self) -> None:
        """Stop measuring, show predictions again and let go of the session."""
        self.instant.leave()
        self.measuring.leave()
        self._session.specimens_changed.disconnect(self._forget, missing_ok=True)
        self._session.current_changed.disconnect(self._follow_current, missing_ok=True)
        self._session.labels_changed.disconnect(self._labels_changed, missing_ok=True)
        self._session.conceal(())
        self._session.conceal_all(False)
