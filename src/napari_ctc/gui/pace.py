"""How often the window is told how far a job is: the longer it takes to be drawn, the less often.

napari's canvas has Qt draw the whole window whenever a word in a dock changes. With a graphics card that is
nothing; without one it takes a tenth of a second from a training beside it, and holds the window up as long.
"""

from __future__ import annotations

import time

from qtpy.QtCore import QObject, QTimer

_SHARE = 0.04  # of the window's time that may go into showing how far a job is
_LEAST, _MOST = 0.25, 3.0  # seconds
_LOOK = 0.01  # seconds after a word was changed, when it is being drawn


class Pace(QObject):
    """Watches how long the window takes to show what it was told.

    Parameters
    ----------
    parent : QObject

    Attributes
    ----------
    seconds : float
        To wait between two words; may be read in any thread.
    """

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.seconds = 1.0
        self._told = 0.0
        self._look = QTimer(self)
        self._look.setSingleShot(True)
        self._look.setInterval(round(1000 * _LOOK))
        self._look.timeout.connect(self._measure)

    def told(self, _event: object = None) -> None:
        """Begin to watch: the window was told something just now."""
        if not self._look.isActive():
            self._told = time.monotonic()
            self._look.start()

    def _measure(self) -> None:
        """Learn it from the timer, which comes as late as the drawing makes it."""
        late = time.monotonic() - self._told - _LOOK
        self.seconds = min(max(late / _SHARE, _LEAST), _MOST)
