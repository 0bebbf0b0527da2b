"""`cross_validate`: how good a classifier may be expected to be, with every labelled specimen held out once.

Who is held out with whom is in `data.folds`; training and classifying are the jobs that do it anywhere else. What
is found is in `crossval_result`, and how far it is in `crossval_progress`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from napari_ctc.apply.crossval_progress import TOTAL, Whole, meanwhile
from napari_ctc.apply.crossval_result import CrossValidation, FoldResult, assembled, scored
from napari_ctc.apply.inference import classify
from napari_ctc.data.digests import read_digests
from napari_ctc.data.files import beside, check_writable
from napari_ctc.data.folds import folds as deal_folds
from napari_ctc.data.folds import hold_out_kin, without_copies
from napari_ctc.data.manifest import Manifest
from napari_ctc.data.predictions import WRITERS
from napari_ctc.data.splits import Rows
from napari_ctc.errors import (
    ManifestError,
    PredictionsError,
    SettingsError,
    Stopped,
    StoppedEarlyError,
    TrainingError,
)
from napari_ctc.events import FoldDone, Job, Said, Saved
from napari_ctc.learn.planning import check_settings, with_layout
from napari_ctc.learn.training import train
from napari_ctc.settings import TrainSettings

TRAINING = 0.95  # share of a fold's time that is training
TOO_EARLY = "Cross-validation was stopped before its first fold ended, so there is nothing to tell."


@dataclass(frozen=True)
class _Fold:
    """Who is trained on, who is watched meanwhile, and who is held out (rows of the labelled specimens)."""

    held: Rows
    training: Manifest
    validation: Manifest


@dataclass(frozen=True)
class _Plan:
    folds: tuple[_Fold, ...]
    notes: tuple[str, ...]
    digests: tuple[str, ...]  # of each labelled specimen; empty where it cannot be read


def cross_validate(
    manifest: Manifest,
    settings: TrainSettings = TrainSettings(),
    out: str | Path | None = None,
    folds: int = 5,
    channel_names: tuple[str, ...] | None = None,
) -> Job[CrossValidation]:
    """Hold every labelled specimen out once: train on the others, and say what the classifier makes of it.

    Specimens of one source stay together, and so do copies: the same pixels under other names.

    Parameters
    ----------
    manifest : Manifest
        Labelled rows take part, except those marked test. The marks train and validation are passed over.
    settings : TrainSettings
        Of each fold's training, so a time budget is for one fold.
    out : path, optional
        Where to write the predictions: .csv or .parquet, the whole file or none. An older table there is replaced
        only by a whole one; a job that was stopped, or lost a fold, then writes beside it, to
        ``NAME.stopped.csv``.
    folds : int, 2 or more
    channel_names : tuple of str, optional

    Yields
    ------
    Event
        `done` and `total` are of the whole job. `Said` as a fold begins, then what `train` and `classify` yield,
        then `FoldDone`; sentences and skipped files that every fold would repeat come once. The `indices` of
        `Classified` are rows of the result.

    Returns
    -------
    CrossValidation
        With the folds that ended, marked `stopped`, when a person stopped it. A fold whose training failed is
        among its `failures`.

    Raises
    ------
    ManifestError, SettingsError
        Before anything is trained, if there is nothing to learn or to hold out.
    PredictionsError
        If `out` ends in no known format.
    StoppedEarlyError
        If it was stopped before the first fold ended.
    TrainingError
        If every fold's training failed.
    """
    if out is not None:
        out = _checked_out(Path(out))
    used = _usable(with_layout(manifest, settings))
    # Sources are dealt below: here, they must not be refused for a split that is not made.
    check_settings(used.with_column("source", [""] * len(used)), settings)
    whole = Whole()
    try:
        plan = yield from _planned(used, settings, folds, whole)
        yield from (whole.shown(Said(text=note, warning=True)) for note in (*manifest.notes, *plan.notes))
    except Stopped:
        raise StoppedEarlyError(TOO_EARLY) from None
    ended: list[FoldResult] = []
    failed: list[TrainingError] = []
    stopped = True
    with suppress(Stopped):
        for number, fold in enumerate(plan.folds, 1):
            whole.begin_fold(number, len(plan.folds))
            try:
                result = yield from _one_fold(used, fold, settings, channel_names, whole)
            except StoppedEarlyError:
                raise Stopped from None
            except TrainingError as problem:  # what the other folds say is worth having
                failed.append(problem)
                yield whole.shown(Said(text=f"Fold {number} failed. {problem}", warning=True))
                continue
            ended.append(result)
            yield whole.shown(FoldDone(fold=number, folds=len(plan.folds), scores=result.scores))
        stopped = False
    if not ended:
        raise StoppedEarlyError(TOO_EARLY) if stopped else failed[0]
    failures = tuple(str(problem) for problem in failed)
    found = replace(assembled(ended, used, plan.digests, len(plan.folds), plan.notes, stopped), failures=failures)
    if out is not None:
        if len(found.folds) < found.planned and out.exists():
            out = beside(out)
        found.predictions.write(out)
        with suppress(Stopped):  # too late: all is done
            yield Saved(path=out, done=TOTAL, total=TOTAL)
    return found


def _checked_out(out: Path) -> Path:
    if out.suffix.lower() not in WRITERS:
        raise PredictionsError(f"Predictions are written as {' or '.join(WRITERS)}; {out.name} ends in neither.")
    check_writable(out)
    return out


def _usable(manifest: Manifest) -> Manifest:
    """Take the labelled rows that are not marked test, and clear their other marks."""
    table = manifest.table
    used = manifest.rows(np.flatnonzero(((table["label"] != "") & (table["split"] != "test")).to_numpy()))
    if len(used) and (used.table["by"] == "classifier").all():
        raise ManifestError("No specimen has a label from a person, so there is nothing to compare with.")
    return used.with_column("split", [""] * len(used))


# -------------------------------------------------------------------------------------------- planning


def _planned(used: Manifest, settings: TrainSettings, n: int, whole: Whole) -> Job[_Plan]:
    """Read all specimens, and deal those that can be read into folds; refuses what cannot be trained."""
    yield whole.shown(Said(text=f"Reading {len(used):,} specimens, to keep copies together."))
    digests = np.array((yield from whole.within(read_digests(used))), dtype=object)
    readable = np.flatnonzero(digests != "")
    if not len(readable):
        raise ManifestError("No specimen can be read. Look at the reasons given for the skipped files.")
    part, known = used.rows(readable), digests[readable]
    dealt = yield from whole.within(meanwhile(partial(deal_folds, part, n, settings.seed, known)))
    notes = [*_copies(part, known), *dealt.notes]
    planned = []
    for number, held in enumerate(dealt.held, 1):
        others = without_copies(np.setdiff1d(np.arange(len(part)), held), held, known)
        learnt, left_out = _learnable(part.rows(others))
        if left_out:
            names = ", ".join(f"'{name}'" for name in left_out)
            notes.append(f"Fold {number} has too few specimens to learn {names} from: it cannot find any.")
        training = part.rows(others[learnt])
        if len(training.classes) < 2:
            raise SettingsError(
                f"When fold {number} of {len(dealt.held)} is held out, fewer than two classes are left to learn. "
                f"Label specimens of each class on more sources, or try another number of folds or seed."
            )
        pixels = known[others[learnt]]
        inner = yield from whole.within(
            meanwhile(partial(hold_out_kin, training, settings.validation_fraction, settings.seed, pixels))
        )
        fold = _Fold(held, training.rows(inner.train), training.rows(inner.validation))
        check_settings(fold.training, settings, fold.validation)  # all folds, before the first is trained
        planned.append(fold)
    return _Plan(tuple(_with_unreadable(planned, readable, len(used))), tuple(notes), tuple(digests.tolist()))


def _with_unreadable(planned: list[_Fold], readable: Rows, total: int) -> Iterator[_Fold]:
    """Name rows of all specimens; those that cannot be read join the first fold, for a row with the reason."""
    lost = np.setdiff1d(np.arange(total), readable)
    for place, fold in enumerate(planned):
        held = readable[fold.held]
        yield replace(fold, held=held if place else np.union1d(held, lost))


def _learnable(manifest: Manifest) -> tuple[Rows, list[str]]:
    """Find the specimens of classes with at least two: one to learn from, and one to check with."""
    counts = manifest.table["label"].map(manifest.table["label"].value_counts()).to_numpy(np.int64)
    return np.flatnonzero(counts > 1), sorted(set(manifest.table["label"][counts < 2]))


def _copies(manifest: Manifest, digests: Any) -> list[str]:
    """Tell how many specimens are copies, and whether copies were called by several names."""
    labels = manifest.table.groupby(digests)["label"]
    copies, differing = int((labels.size() - 1).sum()), int((labels.nunique() > 1).sum())
    notes = [f"{copies:,} specimens are copies of others; they are held out together."] if copies else []
    if differing:
        rows = np.flatnonzero(labels.transform("nunique") > 1)[:2]
        names = " and ".join(manifest.keys[row] for row in rows)
        notes.append(f"{differing:,} specimens have copies with another label, for instance among {names}.")
    return notes


# ------------------------------------------------------------------------------------------ one fold


def _one_fold(
    used: Manifest, fold: _Fold, settings: TrainSettings, names: tuple[str, ...] | None, whole: Whole
) -> Job[FoldResult]:
    yield whole.shown(
        Said(
            text=f"{whole.name}: {len(fold.training):,} specimens to train on, {len(fold.validation):,} to follow "
            f"it by, {len(fold.held):,} held out."
        )
    )
    training = train(fold.training, settings, validation=fold.validation, channel_names=names)
    classifier = yield from whole.within(training, 0, TRAINING)
    held_out = classify(used.rows(fold.held), classifier, precision=settings.precision, device=settings.device)
    predictions = yield from whole.within(held_out, TRAINING, 1, fold.held)
    return FoldResult(fold.held, predictions, scored(predictions.table, used.classes), classifier.digest)
