"""The folds of a cross-validation at work: one after the other here, or several at once elsewhere.

Who is held out with whom is planned in `crossval`. What travels to a worker is the table of specimens, as text,
and row numbers; what comes back is a table of predictions. A fold's classifier stays where it was trained.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_ctc.apply.crossval_progress import Whole
from napari_ctc.apply.crossval_result import FoldResult, scored
from napari_ctc.apply.executors import Done, Lost, Place, execute, must_see
from napari_ctc.apply.inference import classify
from napari_ctc.apply.workers import Shared
from napari_ctc.data.manifest import Manifest
from napari_ctc.data.predictions import Predictions, typed
from napari_ctc.data.specimens import Layout
from napari_ctc.data.splits import Rows
from napari_ctc.errors import PlaceError, Stopped, StoppedEarlyError, TrainingError
from napari_ctc.events import Event, FoldDone, Job, Said, Skipped, run
from napari_ctc.learn.training import train
from napari_ctc.settings import TrainSettings

if TYPE_CHECKING:
    import pyarrow as pa

TRAINING = 0.95  # share of a fold's time that is training


@dataclass(frozen=True)
class Fold:
    """Who is trained on, who is watched meanwhile, and who is held out: rows of the specimens that take part."""

    training: Rows
    validation: Rows
    held: Rows


@dataclass(frozen=True)
class Work:
    """What all folds have in common.

    Parameters
    ----------
    used : Manifest
        The specimens that take part.
    settings : TrainSettings
        Of each fold's training.
    names : tuple of str, optional
        Of the channels.
    """

    used: Manifest
    settings: TrainSettings
    names: tuple[str, ...] | None = None


@dataclass
class Ended:
    """The folds that ended so far, and those that failed."""

    results: list[FoldResult] = field(default_factory=list)
    failures: list[TrainingError | PlaceError] = field(default_factory=list)


def all_folds(work: Work, folds: Sequence[Fold], place: Place, whole: Whole, ended: Ended) -> Job[None]:
    """Train and judge each fold; what ends is added to `ended`, so that a stop keeps it."""
    if place.kind == "here":
        yield from _one_by_one(work, folds, whole, ended)
        return
    place = replace(place, processes=min(place.processes, len(folds)))  # others would have cores and no fold
    yield whole.shown(Said(text=f"Training {len(folds)} folds {place.words}. Each is told of when it ends."))
    try:
        yield from _at_once(work, folds, place, whole, ended)
    except PlaceError as problem:
        if not ended.results:
            raise
        ended.failures.append(problem)
        yield whole.shown(Said(text=str(problem), warning=True))


def one_fold(work: Work, fold: Fold, whole: Whole) -> Job[FoldResult]:
    """Train on a fold's specimens, and classify those that it holds out."""
    used, settings = work.used, work.settings
    yield whole.shown(
        Said(
            text=f"{whole.name}: {len(fold.training):,} specimens to train on, {len(fold.validation):,} to follow "
            f"it by, {len(fold.held):,} held out."
        )
    )
    validation = used.rows(fold.validation)
    training = train(used.rows(fold.training), settings, validation=validation, channel_names=work.names)
    classifier = yield from whole.within(training, 0, TRAINING)
    held_out = classify(used.rows(fold.held), classifier, precision=settings.precision, device=settings.device)
    predictions = yield from whole.within(held_out, TRAINING, 1, fold.held)
    return FoldResult(fold.held, predictions, scored(predictions.table, used.classes), classifier.digest)


def _one_by_one(work: Work, folds: Sequence[Fold], whole: Whole, ended: Ended) -> Job[None]:
    for number, fold in enumerate(folds, 1):
        whole.begin_fold(number, len(folds))
        try:
            result = yield from one_fold(work, fold, whole)
        except StoppedEarlyError:
            raise Stopped from None
        except TrainingError as problem:  # what the other folds say is worth having
            ended.failures.append(problem)
            yield whole.shown(_failed(number, problem))
            continue
        ended.results.append(result)
        yield whole.shown(FoldDone(fold=number, folds=len(folds), scores=result.scores))


# ------------------------------------------------------------------------------------------- elsewhere


def _at_once(work: Work, folds: Sequence[Fold], place: Place, whole: Whole, ended: Ended) -> Job[None]:
    tasks = ([rows.tolist() for rows in (fold.training, fold.validation, fold.held)] for fold in folds)
    shared = Shared(_packed(work), _unpacked, must_see(work.used))
    with closing(execute(place, _fold_elsewhere, tasks, shared)) as outcomes:
        for one in outcomes:
            if isinstance(one, Event):
                yield whole.shown(one)
                continue
            whole.end_folds(one.number + 1, len(folds))
            problem: TrainingError | None = TrainingError(one.reason) if isinstance(one, Lost) else None
            if isinstance(one, Done):
                for path, text in one.value.told:
                    said = Skipped(path=path, reason=text) if path else Said(text=text, warning=True)
                    yield whole.shown(said)
                if one.value.table is None:
                    problem = TrainingError(one.value.failed)
                else:
                    held = folds[one.number].held
                    result = _result(held, typed(one.value.table.to_pandas(), one.value.classes), one.value, work)
                    ended.results.append(result)
                    yield whole.shown(FoldDone(fold=one.number + 1, folds=len(folds), scores=result.scores))
            if problem is not None:
                ended.failures.append(problem)
                yield whole.shown(_failed(one.number + 1, problem))


@dataclass(frozen=True)
class _Sent:
    """What a worker sends back of a fold: plain values, and a table unless its training failed."""

    told: list[tuple[str, str]]  # path of a skipped file, or nothing, and a sentence
    table: pa.Table | None = None
    classes: tuple[str, ...] = ()
    classifier: str = ""
    failed: str = ""


def _fold_elsewhere(work: Work, task: list[list[int]]) -> _Sent:
    import pyarrow as pa

    told: list[tuple[str, str]] = []

    def note(event: Event) -> None:
        if isinstance(event, Skipped):
            told.append((event.path, event.reason))
        elif isinstance(event, Said) and event.warning:
            told.append(("", event.text))

    fold = Fold(*(np.array(rows, dtype=np.intp) for rows in task))
    try:
        result = run(one_fold(work, fold, Whole()), note)
    except TrainingError as problem:
        return _Sent(told, failed=str(problem))
    predictions = result.predictions
    table = pa.Table.from_pandas(predictions.table, preserve_index=False)
    return _Sent(told, table, predictions.classes, result.classifier)


def _result(held: Rows, table: pd.DataFrame, sent: _Sent, work: Work) -> FoldResult:
    predictions = Predictions(table, work.used.root, sent.classes)
    return FoldResult(held, predictions, scored(table, work.used.classes), sent.classifier)


def _failed(number: int, problem: Exception) -> Said:
    return Said(text=f"Fold {number} failed. {problem}", warning=True)


def _packed(work: Work) -> bytes:
    used = work.used
    content = {
        "table": used.table.to_dict("list"),
        "root": str(used.root),
        "layout": [used.layout.channels, used.layout.axis],
        "settings": work.settings.model_dump(exclude_unset=True),  # what is set wins over the manifest's layout
        "names": work.names,
    }
    return json.dumps(content).encode()


def _unpacked(data: bytes) -> Work:
    content: dict[str, Any] = json.loads(data)
    table = pd.DataFrame(content["table"], dtype="str")
    used = Manifest(table, Path(content["root"]), Layout(*content["layout"]))
    names = content["names"]
    return Work(used, TrainSettings(**content["settings"]), None if names is None else tuple(names))
