"""Events, jobs, and the driver that runs a job from a terminal, a notebook or a test.

A job is a generator that yields events and returns its result. It knows nothing of who listens: the command
line, a notebook and the window drive the same one.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from napari_ctc.errors import Stopped

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from napari_ctc.data.calls import Calls
    from napari_ctc.score.metrics import Scores

R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class Event:
    """What just happened.

    Parameters
    ----------
    done, total : int
        How much of the whole job is done; a `total` of 0 means that the end is not known.
    """

    done: int = 0
    total: int = 0


Job = Generator[Event, None, R]


@dataclass(frozen=True, kw_only=True)
class Said(Event):
    """A sentence worth showing once: what was chosen, or what could not be had."""

    text: str
    warning: bool = False


@dataclass(frozen=True, kw_only=True)
class Skipped(Event):
    """A file that could not be used; the rest goes on."""

    path: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Saved(Event):
    """A file that now stands on disk, whole."""

    path: Path


@dataclass(frozen=True, kw_only=True)
class Drawn(Event):
    """A drawn specimen was written."""


@dataclass(frozen=True, kw_only=True)
class Planned(Event):
    """What a training run is about to do, said before the first step.

    Parameters
    ----------
    classes : tuple of str
        The class names, in the order of the network's outputs.
    training, validation, test : tuple of int
        Specimens of each class in each part of the split.
    weights : tuple of float, dimensionless
        The weight of each class in the loss.
    device : str
        Where the run computes.
    """

    classes: tuple[str, ...]
    training: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]
    weights: tuple[float, ...]
    device: str


@dataclass(frozen=True, kw_only=True)
class StepDone(Event):
    """One optimiser step, or one batch of validation. `done` and `total` count steps.

    Parameters
    ----------
    epoch, epochs : int
        The epoch that runs, from 1, and how many there are at most.
    seconds_left : float, seconds
        An estimate; NaN while there is none.
    """

    epoch: int
    epochs: int
    seconds_left: float = float("nan")


@dataclass(frozen=True, kw_only=True)
class EpochDone(Event):
    """One pass over the training specimens. `done` and `total` count steps, as in `StepDone`.

    Parameters
    ----------
    epoch, epochs : int
        The epoch that ended, from 1, and how many there are at most.
    training_loss, validation_loss : float, nats
        Means over specimens of the weighted loss; over classes for validation.
    scores : Scores
        On the validation specimens.
    kept : bool
        Whether this epoch's weights are those to keep: always, save where `patience` looks for the best epoch.
    """

    epoch: int
    epochs: int
    training_loss: float
    validation_loss: float
    scores: Scores
    kept: bool
    seconds_left: float = float("nan")


@dataclass(frozen=True, kw_only=True)
class Resumed(Event):
    """A run goes on after the last epoch that its checkpoint holds.

    Parameters
    ----------
    epoch : int
        The epochs that had ended.
    losses : tuple of pairs of float, nats
        Training and validation loss of the last of them, as many as are known.
    kept : int
        The epoch whose weights are kept so far.
    """

    epoch: int
    losses: tuple[tuple[float, float], ...]
    kept: int


@dataclass(frozen=True, kw_only=True)
class HeldOut(Event):
    """What the classifier that a run ended with calls the validation specimens.

    Parameters
    ----------
    scores : Scores
        As the classifier's own figures have them.
    calls : Calls
        The specimens behind the counts; the classifier itself names none.
    """

    scores: Scores
    calls: Calls = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class FoldDone(Event):
    """One fold of a cross-validation: trained, and its held-out specimens classified.

    Parameters
    ----------
    fold, folds : int
        The fold that ended, from 1, and how many there are.
    scores : Scores
        On the specimens that this fold held out, which its classifier never saw.
    """

    fold: int
    folds: int
    scores: Scores


@dataclass(frozen=True, kw_only=True)
class Classified(Event):
    """Some specimens now have predictions.

    Parameters
    ----------
    rows : pandas.DataFrame
        The new rows, with the columns of `napari_ctc.data.predictions.Predictions`.
    indices : tuple of int
        Where these rows stand in the order of the input.
    """

    rows: pd.DataFrame = field(repr=False)
    indices: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Measured(Event):
    """A batch of specimens now has features.

    Parameters
    ----------
    rows : tuple of int
        Where these specimens stand in the order of the input.
    values : (n, F) float32
        Rows of NaN for those that could not be read.
    reasons : tuple of str
        Why each could not be read; empty where it was.
    files : tuple of (int, str)
        Size and time of modification of each one's file, from before it was read, as `facts_if_there` tells them.
    """

    rows: tuple[int, ...]
    values: NDArray[np.float32] = field(repr=False)
    reasons: tuple[str, ...] = field(repr=False)
    files: tuple[tuple[int, str], ...] = field(repr=False)


def run(job: Job[R], show: Callable[[Event], object] | None = None) -> R:
    """Drive a job to its end and return its result.

    Parameters
    ----------
    job : Job
        A generator made by `train`, `classify` and the like.
    show : callable, optional
        Called with each event.

    Returns
    -------
    The job's result. Ctrl+C stops the job at its next event, and the job then returns what it has; a second
    Ctrl+C ends it at once.
    """
    try:
        event = next(job)
        while True:
            try:
                if show is not None:
                    show(event)
            except KeyboardInterrupt:
                event = job.throw(Stopped())
            else:
                event = next(job)
    except StopIteration as end:
        result: R = end.value
        return result
    finally:
        job.close()
