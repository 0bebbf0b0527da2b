"""How far a cross-validation is: the events of the jobs inside it, made into events of the whole."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import TypeVar

from napari_ctc.data.splits import Rows
from napari_ctc.events import Classified, EpochDone, Event, Job, Said, Skipped, StepDone

R = TypeVar("R")

TOTAL = 1000  # what `done` counts to, over the whole job
READING = 50  # of it, for reading the specimens
PULSE = 0.2  # seconds between signs of life


@dataclass
class Whole:
    """Makes the events of the jobs inside a cross-validation into events of the whole.

    Parameters
    ----------
    name : str
        Of the fold that runs: "Fold 2 of 5".
    low, span : float
        Where in `TOTAL` the fold that runs begins, and how much of it the fold takes.
    done : int
        How far the whole is, of `TOTAL`; never falls.
    began : float, seconds
        When the first fold began.
    told : set of str
        Sentences and skipped files that need not be told again.
    """

    name: str = ""
    low: float = 0.0
    span: float = READING
    done: int = 0
    began: float = field(default_factory=monotonic)
    told: set[str] = field(default_factory=set)

    def begin_fold(self, number: int, of: int) -> None:
        """Begin a fold, from 1."""
        self.name = f"Fold {number} of {of}"
        if number == 1:
            self.began = monotonic()
        self.span = (TOTAL - READING) / of
        self.low = READING + (number - 1) * self.span
        self.done = round(self.low)

    def end_folds(self, ended: int, of: int) -> None:
        """Say how many folds have ended, where several run at once."""
        self.done = max(self.done, round(READING + (TOTAL - READING) * ended / of))

    def within(self, job: Job[R], start: float = 0, end: float = 1, rows: Rows | None = None) -> Job[R]:
        """Run a job that takes the fold from `start` to `end`; a stop abandons it, since half a fold is none."""
        with closing(job):
            while True:
                try:
                    event = next(job)
                except StopIteration as last:
                    result: R = last.value
                    return result
                if event.total:
                    share = start + (end - start) * event.done / event.total
                    self.done = max(self.done, round(self.low + self.span * share))
                if isinstance(event, Classified) and rows is not None:
                    event = replace(event, indices=tuple(int(rows[place]) for place in event.indices))
                if isinstance(event, Said) and not event.warning and self.low > READING:
                    event = Event()  # how it is done was said in the first fold
                yield self.shown(event)

    def shown(self, event: Event) -> Event:
        """Say how far the whole is; what was told before becomes a bare sign of life."""
        text = event.text if isinstance(event, Said) else event.path if isinstance(event, Skipped) else ""
        if text in self.told:
            event = Event()
        elif text:
            self.told.add(text)
        event = replace(event, done=self.done, total=TOTAL)
        if isinstance(event, (StepDone, EpochDone)):
            event = replace(event, seconds_left=self.seconds_left)
        return event

    @property
    def seconds_left(self) -> float:
        """Estimate of the time left, seconds; NaN at first."""
        gone = self.done - READING
        return (monotonic() - self.began) * (TOTAL - self.done) / gone if gone >= 5 else float("nan")


def meanwhile(call: Callable[[], R]) -> Job[R]:
    """Call a function in a thread, with signs of life until it returns."""
    with ThreadPoolExecutor(1, thread_name_prefix="napari-ctc deal") as pool:
        future = pool.submit(call)
        while not wait([future], timeout=PULSE).done:
            yield Event()
        return future.result()
