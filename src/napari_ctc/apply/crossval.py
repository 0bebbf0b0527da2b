"""`cross_validate`: how good a classifier may be expected to be, with every labelled specimen held out once.

Who is held out with whom is in `data.folds`, and the work of a fold in `crossval_folds`. What is found is in
`crossval_result`, and how far it is in `crossval_progress`.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from napari_ctc.apply.crossval_folds import Ended, Fold, Work, all_folds
from napari_ctc.apply.crossval_progress import TOTAL, Whole, meanwhile
from napari_ctc.apply.crossval_result import CrossValidation, assembled
from napari_ctc.apply.executors import Place
from napari_ctc.data.digests import read_digests
from napari_ctc.data.files import beside, check_writable, exists
from napari_ctc.data.folds import folds as deal_folds
from napari_ctc.data.folds import hold_out_kin, without_copies
from napari_ctc.data.hunted import rate_note
from napari_ctc.data.manifest import Manifest
from napari_ctc.data.splits import Rows, note_on_test
from napari_ctc.data.writers import WRITERS
from napari_ctc.errors import (
    CTCError,
    ManifestError,
    PredictionsError,
    SettingsError,
    Stopped,
    StoppedEarlyError,
)
from napari_ctc.events import Event, Job, Said, Saved
from napari_ctc.learn.deal import with_layout
from napari_ctc.learn.planning import check_settings
from napari_ctc.settings import TrainSettings

TOO_EARLY = "Cross-validation was stopped before its first fold ended, so there is nothing to tell."


@dataclass(frozen=True)
class _Plan:
    folds: tuple[Fold, ...]
    notes: tuple[str, ...]
    digests: tuple[str, ...]  # of each labelled specimen; empty where it cannot be read


def cross_validate(
    manifest: Manifest,
    settings: TrainSettings = TrainSettings(),
    out: str | Path | None = None,
    folds: int = 5,
    channel_names: tuple[str, ...] | None = None,
    on: str | Place = "here",
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
    on : str or Place
        Where folds are trained: "here" one after the other, "processes:N" in N processes of this machine, or
        "tcp://HOST:PORT" on the workers of a Dask scheduler.

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
        among its `failures`, and so is a table that could not be written.

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
    PlaceError
        If no fold could be trained where it was to be.
    """
    place = Place.parse(on)
    if out is not None:
        out = _checked_out(Path(out))
    used = _usable(with_layout(manifest, settings))
    # Sources are dealt below: here, they must not be refused for a split that is not made.
    check_settings(used.with_column("source", [""] * len(used)), settings)
    whole = Whole()
    try:
        plan = yield from _planned(used, settings, folds, whole)
        notes = filter(None, (*manifest.notes, note_on_test(manifest), *plan.notes))
        yield from (whole.shown(Said(text=note, warning=True)) for note in notes)
    except Stopped:
        raise StoppedEarlyError(TOO_EARLY) from None
    ended, stopped = Ended(), True
    with suppress(Stopped):
        yield from all_folds(Work(used, settings, channel_names), plan.folds, place, whole, ended)
        stopped = False
    if not ended.results:
        raise StoppedEarlyError(TOO_EARLY) if stopped else ended.failures[0]
    failures = tuple(str(problem) for problem in ended.failures)
    found = replace(
        assembled(ended.results, used, plan.digests, len(plan.folds), plan.notes, stopped), failures=failures
    )
    if out is not None:
        if len(found.folds) < found.planned and exists(out):
            out = beside(out)
        try:
            found.predictions.write(out)
            told: Event = Saved(path=out, done=TOTAL, total=TOTAL)
        except CTCError as problem:  # the figures took long, and are worth having without their table
            found = replace(found, failures=(*failures, str(problem)))
            told = Said(text=str(problem), warning=True, done=TOTAL, total=TOTAL)
        with suppress(Stopped):  # too late: all is done
            yield told
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
    hunted = rate_note(used)
    notes = [*([hunted] if hunted else []), *_copies(part, known), *dealt.notes]
    planned = []
    for number, held in enumerate(dealt.held, 1):
        others = without_copies(np.setdiff1d(np.arange(len(part)), held), held, known)
        learnt, left_out = _learnable(part.rows(others))
        if left_out:
            names = ", ".join(f"'{name}'" for name in left_out)
            notes.append(f"Fold {number} has too few specimens to learn {names} from: it cannot find any.")
        trained = others[learnt]
        training = part.rows(trained)
        if len(training.classes) < 2:
            raise SettingsError(
                f"When fold {number} of {len(dealt.held)} is held out, fewer than two classes are left to learn. "
                f"Label more specimens of each class, on several sources if they have any, or try another number "
                f"of folds or seed."
            )
        pixels = known[trained]
        inner = yield from whole.within(
            meanwhile(partial(hold_out_kin, training, settings.validation_fraction, settings.seed, pixels))
        )
        if not len(inner.validation):
            raise SettingsError(
                f"When fold {number} of {len(dealt.held)} is held out, no others can be, to follow its training "
                f"by. {' '.join(inner.notes)} Label specimens of each class on more sources."
            )
        check_settings(training.rows(inner.train), settings, training.rows(inner.validation))  # of all folds
        planned.append(Fold(*(readable[rows] for rows in (trained[inner.train], trained[inner.validation], held))))
    # What cannot be read joins the first fold, for a row with the reason.
    lost = np.setdiff1d(np.arange(len(used)), readable)
    planned[0] = replace(planned[0], held=np.union1d(planned[0].held, lost))
    return _Plan(tuple(planned), tuple(notes), tuple(digests.tolist()))


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
