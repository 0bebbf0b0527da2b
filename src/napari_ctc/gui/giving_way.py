"""Work that nobody waits for gives way to a person who scrolls, sorts, filters or labels.

It shares the processor and Python's lock with the window: beside it, what a person does there took several times
as long. Knows no Qt.
"""

from __future__ import annotations

import gc
from importlib import import_module
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from napari_ctc.errors import Stopped
from napari_ctc.events import Event

if TYPE_CHECKING:
    from napari_ctc.events import Job

REST = 0.7  # seconds without anything done before work goes on
PATIENCE = 5.0  # seconds after which it takes a turn in any case
_LOOK = 0.02  # seconds between two looks
_SIGN = 0.2  # seconds after which a waiting job yields, to hear of a stop


def import_quietly(module: str) -> None:
    """Import a large module in a worker's thread without Python looking through all its objects meanwhile.

    It would several times, and each time the window would stand still for 0.2 s.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        import_module(module)
    finally:
        if collecting:
            gc.enable()


class Hands:
    """When a person last did something. `moved` is called in the window's thread, all else in any."""

    def __init__(self) -> None:
        self._moved = -REST

    def moved(self, *_what: object) -> None:
        """Note that a person does something now."""
        self._moved = monotonic()

    @property
    def at_rest(self) -> bool:
        """Whether nothing was done for a while."""
        return monotonic() - self._moved >= REST


def giving_way(job: Job[Any], hands: Hands) -> Job[Any]:
    """Drive a job from step to step while the hands are at rest; in the job's thread.

    A step is what a job does between two events. One that was begun is not interrupted.
    """
    went_on = monotonic()
    event, thrown = None, None
    try:
        while True:
            try:
                while thrown is None and not hands.at_rest and monotonic() - went_on < PATIENCE:
                    yield from _wait(hands)
            except Stopped as stop:
                thrown = stop
            went_on = monotonic()
            event = job.throw(thrown) if thrown is not None else next(job)
            thrown = None
            try:
                yield event
            except Stopped as stop:
                thrown = stop
    except StopIteration as end:
        return end.value
    finally:
        job.close()


def _wait(hands: Hands) -> Job[None]:
    end = monotonic() + _SIGN
    while not hands.at_rest and monotonic() < end:
        sleep(_LOOK)
    yield Event()
