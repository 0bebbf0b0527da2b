"""The class of the current specimen, written on the canvas; the overlay is napari's, and is given back.

A letter that the canvas has not shown yet takes it some 6 ms, and so do some that it measures lines by; the parts
of the overlay take 0.1 s. All at once held the window up for 0.3 s, so all of it is prepared in small steps before
the first text appears.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Set
from itertools import islice
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer

from napari_ctc.gui.rows import NOT_KNOWN, Status
from napari_ctc.gui.speakers import is_instant

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_ctc.gui.session import Session

_LOOK = ("text", "visible", "position", "font_size")
_MEASURED = "ÅÉÑŐjgpqy "  # the letters that vispy measures each line by
_LETTERS = 2  # new ones at a time
_STEP_MS = 10
_DRAWN_MS = 60  # the canvas has drawn the parts of the overlay by then


class CanvasText:
    """Writes what is known of the current specimen on the canvas.

    Parameters
    ----------
    session : Session
    busy : callable
        Tells whether what is known of the labels is about to change: nothing is prepared then, since whoever reads
        them has Python to himself for much of the time.
    """

    def __init__(self, session: Session, busy: Callable[[], bool]) -> None:
        self._session, self._busy = session, busy
        self._overlay = weakref.ref(_overlay_of(session.viewer))
        overlay = self._overlay()
        self._before: dict[str, Any] = {name: getattr(overlay, name) for name in _LOOK}
        overlay.position = "top_left"
        overlay.font_size = 14
        self._ready: set[str] = {"\n"}  # letters
        self._begun = False  # whether the overlay has its parts
        self._next = QTimer()
        self._next.setSingleShot(True)
        self._next.timeout.connect(self._go_on)

    def show(self) -> None:
        """Write what is known now; at first the beginning for which everything is prepared."""
        text = caption(self._session, self._session.current)
        self._write(beginning(text, self._ready) if self._begun else "")
        self._prepare(text)

    def _go_on(self) -> None:
        text = caption(self._session, self._session.current)
        if self._prepare(text):
            self._write(text)

    def _prepare(self, text: str) -> bool:
        """Take a step towards a text, and tell whether none was needed any more."""
        wanted = dict.fromkeys(_MEASURED + text) if text else {}
        new = list(islice((letter for letter in wanted if letter not in self._ready), _LETTERS))
        if (new or not self._begun) and text and self._busy():
            self._next.start(_DRAWN_MS)
        elif new:
            self._ready |= set(new)
            _load(self._session.viewer, new)
            self._next.start(_STEP_MS)
        elif text and not self._begun:
            self._begun = True
            if (overlay := self._overlay()) is not None:
                overlay.visible = True
            self._next.start(_DRAWN_MS)
        else:
            return True
        return False

    def _write(self, text: str) -> None:
        overlay = self._overlay()
        if overlay is None:
            return
        if overlay.text != text:
            overlay.text = text
        if overlay.visible != bool(text):
            overlay.visible = bool(text)

    def give_back(self) -> None:
        """Leave the overlay as it was found."""
        self._next.stop()
        overlay = self._overlay()
        if overlay is not None:
            for name, value in self._before.items():
                setattr(overlay, name, value)


def beginning(text: str, ready: Set[str]) -> str:
    """Give as much of a text as has no letter that is not ready."""
    place = next((place for place, letter in enumerate(text) if letter not in ready), len(text))
    return text[:place]


def caption(session: Session, index: int) -> str:
    """Say the class and probability of a specimen, and who says so where it is no trained network."""
    if not 0 <= index < len(session):
        return ""
    rows, shown, status = session.rows, session.shown, Status(session.status[index])
    lines = []
    if status is Status.FAILED:
        lines.append(f"{'cannot be read' if rows.unreadable[index] else 'not classified'}: see the table")
    elif session.concealed[index]:
        lines.append("prediction hidden" if session.words.predicted[index] != NOT_KNOWN else "")
    elif shown.predicted[index] != NOT_KNOWN:
        stale = "  (stale)" if status is Status.STALE else "  (instant)" if is_instant(shown.speaker) else ""
        lines.append(f"{session.classes[shown.predicted[index]]}  {shown.probability[index]:.2f}{stale}")
    if rows.unsure[index]:
        lines.append("label: unsure")
    elif rows.label[index] != NOT_KNOWN:
        lines.append(f"label: {session.classes[rows.label[index]]}")
    return "\n".join(line for line in lines if line)


def _overlay_of(viewer: Viewer) -> Any:
    try:
        return viewer.canvas.overlays.text
    except AttributeError:  # napari before 0.9
        return viewer.text_overlay


def _load(viewer: Viewer | None, letters: Iterable[str]) -> None:
    """Have the canvas prepare letters without drawing; a napari that has no place for that does it later."""
    try:
        font = viewer.window._qt_viewer.canvas.font_info()  # type: ignore[union-attr]  # noqa: SLF001
        glyphs = font.font_manager.get_font(font.face)
    except AttributeError:
        return
    for letter in letters:
        glyphs[letter]
