"""The class of the current specimen, written on the canvas; the overlay is napari's, and is given back.

A letter that the canvas draws for the first time takes it some 6 ms, and so do the parts of the overlay: so a text
with new letters grows by a few of them at a time.
"""

from __future__ import annotations

import weakref
from collections.abc import Set
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer

from napari_ctc.gui.rows import NOT_KNOWN, Status
from napari_ctc.gui.speakers import is_instant

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_ctc.gui.session import Session

_LOOK = ("text", "visible", "position", "font_size")
_LETTERS = 4  # new ones at a time
_STEP_MS = 60  # the canvas has drawn them by then


class CanvasText:
    """Writes what is known of the current specimen on the canvas.

    Parameters
    ----------
    session : Session
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._overlay = weakref.ref(_overlay_of(session.viewer))
        overlay = self._overlay()
        self._before: dict[str, Any] = {name: getattr(overlay, name) for name in _LOOK}
        overlay.position = "top_left"
        overlay.font_size = 14
        self._drawn = set(" \n")
        self._next = QTimer()
        self._next.setSingleShot(True)
        self._next.setInterval(_STEP_MS)
        self._next.timeout.connect(self._go_on)

    def show(self) -> None:
        """Write what is known now."""
        text = caption(self._session, self._session.current)
        begun = beginning(text, self._drawn, 0)
        self._write(begun)
        if begun != text:
            self._next.start()

    def _go_on(self) -> None:
        text = caption(self._session, self._session.current)
        begun = beginning(text, self._drawn, _LETTERS)
        self._drawn |= set(begun)
        self._write(begun)
        if begun != text:
            self._next.start()

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


def beginning(text: str, drawn: Set[str], most: int) -> str:
    """Give as much of a text as has at most so many letters that were not drawn yet."""
    new: set[str] = set()
    for place, letter in enumerate(text):
        if letter not in drawn:
            new.add(letter)
        if len(new) > most:
            return text[:place]
    return text


def caption(session: Session, index: int) -> str:
    """Say the class and probability of a specimen, and who says so where it is no trained network."""
    if not 0 <= index < len(session):
        return ""
    rows, shown, status = session.rows, session.shown, Status(session.status[index])
    lines = []
    if status is Status.FAILED:
        lines.append("not classified: see the table")
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
