"""What the dock "Classify folder" says of a run: how far it is, how long it may still take, and how it ended."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from napari_ctc.events import Classified, Event, Said, Saved

if TYPE_CHECKING:
    from napari_ctc.data.predictions import Predictions

_RECENT = 10.0  # seconds that the time left is estimated from: what an earlier run did comes much faster
_LEAST = 1.0  # seconds to go by


class RunWords:
    """Follows one run by its events.

    Attributes
    ----------
    warnings : list of str
        All that was said with a warning.
    """

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self._began = monotonic()
        self._recent: deque[tuple[float, int]] = deque()  # when, and how many were done then
        self._notice = ""  # said since the last rows came, and still so
        self._written: Path | None = None

    def hear(self, event: Event) -> str:
        """Take in an event; gives what is to be said now, or nothing new."""
        if isinstance(event, Saved):
            self._written = event.path
            return ""
        if isinstance(event, Classified):
            self._notice = ""
            self._recent.append((monotonic(), event.done))
            while len(self._recent) > 2 and self._recent[1][0] < monotonic() - _RECENT:
                self._recent.popleft()
        elif isinstance(event, Said):
            self._notice = event.text
            if event.warning:
                self.warnings.append(event.text)
        left = "" if self._notice else self._time_left(event.total)
        so_far = f"{event.done:,} of {event.total:,}{left}" if event.total else ""
        return ". ".join(filter(None, (so_far, self._notice)))

    def _time_left(self, total: int) -> str:
        if not self._recent:
            return ""
        (first, had), (_, done) = self._recent[0], self._recent[-1]
        passed = monotonic() - first
        return f", {_clock(passed * (total - done) / (done - had))} left" if done > had and passed > _LEAST else ""

    def ended(self, predictions: Predictions | None) -> str:
        """Say how a run without an error ended, and what it warned of."""
        if predictions is None or (predictions.stopped and not len(predictions)):
            return "Stopped before the first specimen."
        stopped = predictions.stopped
        count = len(predictions) - predictions.failed
        took = _clock(monotonic() - self._began)
        said = [f"{'Stopped' if stopped else 'Done'}: {count:,} specimen{'s' * (count != 1)} in {took}."]
        said.append(f"Written to {self._written.name}." if self._written else "Not written to a file.")
        said += self.warnings
        if stopped and self._written:
            said.append("Classify goes on from there.")
        return " ".join(said)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
