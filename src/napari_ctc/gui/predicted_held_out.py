"""The chip that says which count of a confusion matrix the table and the gallery are narrowed to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QSizePolicy, QWidget
from superqt import QElidingLabel

from napari_ctc.gui.held_out import Cell, Found, find
from napari_ctc.gui.jobs import RunningJob, start
from napari_ctc.gui.open_jobs import open_manifest

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_ctc.gui.session import Session

_LONG = 24  # letters of a class name


class HeldOutRow(QWidget):
    """Narrows what is shown to the specimens of a cell, until a person takes the chip away. Hidden without one.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    session : Session
    parent : QWidget
    """

    changed = Signal()  # what passes
    found = Signal()  # the specimens of a cell that was asked for

    def __init__(self, viewer: Viewer, session: Session, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("heldOut")
        self._viewer, self._session = viewer, session
        self._cell: Cell | None = None
        self._found: Found | None = None
        self._job: RunningJob | None = None
        self._again = False  # whether to look once more when the job ends
        self._told = False  # whether it was said that this cell's specimens are found
        self.chip = QPushButton(self)
        self.chip.setObjectName("heldOutChip")
        self.chip.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Preferred)
        self.chip.clicked.connect(self.clear)
        self.text = QElidingLabel(self)
        self.text.setObjectName("heldOutText")
        self.text.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.open = QPushButton("Open them", self)
        self.open.setObjectName("openHeldOut")
        self.open.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Preferred)
        self.open.clicked.connect(self._open)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        for part in (self.chip, self.open, self.text):
            row.addWidget(part, 0 if part is not self.text else 1, Qt.AlignmentFlag.AlignVCenter)
        session.specimens_changed.connect(self._look)
        self.hide()

    @property
    def ids(self) -> frozenset[int] | None:
        """The specimens that pass, by their ids; None where all do."""
        if self._cell is None:
            return None
        return self._found.ids if self._found is not None else frozenset()

    def show_cell(self, cell: Cell) -> None:
        """Narrow to the specimens of a cell."""
        self._cell, self._told = cell, False
        number = len(cell.calls.of(cell.said, cell.called))
        self.chip.setText(f"held out: {_short(cell.said)} called {_short(cell.called)}, {number:,}  ✕")
        self.chip.setToolTip(
            f"Only specimens that were held out, that a person said are {cell.said} and that were called "
            f"{cell.called}. Click, or press Space here, to show all again."
        )
        self.show()
        self._look()

    def clear(self) -> None:
        """Show all specimens again."""
        self._cell = self._found = None
        self.hide()
        self.changed.emit()

    def _look(self) -> None:
        """Look for the specimens, anew when others are open; the last one asked for counts."""
        if self._cell is None:
            return
        self._found = None
        self.text.setText("looking for them…")
        self.open.hide()
        self.changed.emit()  # until then, no rows of another count stand under this one's name
        if self._job is not None:  # ends soon, and then this is done
            self._again = True
            self._job.stop()
            return
        ids, first, opened = self._session.rows.ids, 0, []
        for stack in self._session.stacks:
            opened.append((stack.manifest, ids[first : first + len(stack.manifest)].tolist()))
            first += len(stack.manifest)
        self._job = start(
            find(self._cell, opened),
            parent=self,
            name="Looking for held-out specimens",
            on_result=self._take,
            on_finished=self._end,
            quiet=True,
        )

    def _take(self, found: Found | None) -> None:
        if found is None or self._cell is None or self._again:
            return
        self._found = found
        number = len(self._cell.calls.of(self._cell.said, self._cell.called))
        self.text.setText(sentence(number, found))
        self.text.setToolTip(self.text.text())
        self.open.setVisible(found.missing > 0)
        self.open.setToolTip(
            f"Opens all {len(found.not_open):,} specimens that were held out and are not open, so that every "
            f"count leads to its own."
        )
        self.changed.emit()
        if not self._told:
            self._told = bool(found.ids)
            self.found.emit()

    def _end(self) -> None:
        self._job = None
        if self._again:
            self._again = False
            self._look()

    def _open(self) -> None:
        if self._found is None:
            return
        manifest, classifier = self._found.not_open, self._session.classifier
        fits = classifier is not None and classifier.channel_count == manifest.layout.channels
        open_manifest(self._viewer, manifest, classifier.channels if fits else None)

    def leave(self) -> None:
        """Let go of the session."""
        self._session.specimens_changed.disconnect(self._look, missing_ok=True)
        if self._job is not None:
            self._job.stop()


def sentence(number: int, found: Found) -> str:
    """Say which of the specimens are not shown, and why; empty if all are."""
    parts = []
    if found.missing:
        none = "It is not" if number == 1 else f"None of the {number:,} is"
        some = f"{found.missing:,} of the {number:,} {'is' if found.missing == 1 else 'are'} not"
        parts.append(f"{none if found.missing == number else some} open here.")
    if found.changed:
        parts.append(f"Left out, since the file holds another image by now: {found.changed:,}.")
    if found.unreadable:
        parts.append(f"Left out, since the file is gone or cannot be read: {found.unreadable:,}.")
    return " ".join(parts)


def _short(name: str) -> str:
    return name if len(name) <= _LONG else f"{name[: _LONG - 1]}…"
