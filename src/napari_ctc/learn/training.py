"""`train`: the job that turns labelled specimens into a classifier.

Checks and splits are in `planning`, reading in `reading`, the state in `runs`, the classifier that comes of it
in `finishing`; here are the steps and the epochs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_ctc.data.files import beside, check_writable, checkpoint_path
from napari_ctc.data.hunted import NOT_A_RATE
from napari_ctc.data.manifest import Manifest
from napari_ctc.errors import SettingsError, Stopped, StoppedEarlyError, TrainingError
from napari_ctc.events import EpochDone, Event, HeldOut, Job, Said, Saved, Skipped
from napari_ctc.learn.augment import draw_changes
from napari_ctc.learn.batches import Batch, ahead
from napari_ctc.learn.checkpoints import Keeper, State, read_state, restore
from napari_ctc.learn.classifier import Classifier
from napari_ctc.learn.continuing import check_fit, following
from napari_ctc.learn.finishing import finished, with_agreement
from napari_ctc.learn.losses import weighted_cross_entropy
from napari_ctc.learn.planning import (
    check_settings,
    deal_out,
    plan,
    planned,
    with_layout,
)
from napari_ctc.learn.reading import read_data
from napari_ctc.learn.rehearsal import rehearse
from napari_ctc.learn.runs import Loss, Run
from napari_ctc.learn.sampling import epoch_order
from napari_ctc.learn.sentinel import ENOUGH, looked_back, missing
from napari_ctc.score.calibration import called, log_posterior
from napari_ctc.score.metrics import balanced_log_loss, score
from napari_ctc.score.reliability import sentence
from napari_ctc.settings import TrainSettings

__all__ = ["check_settings", "plan", "train"]

Rows = NDArray[np.int64]

UNFINISHED = (
    "An unfinished run is here ({}), and this one replaces it. To go on with it instead, stop now and resume it."
)
TOO_EARLY = "Training was stopped before its first epoch ended, so there is no classifier."


def train(
    manifest: Manifest,
    settings: TrainSettings = TrainSettings(),
    out: Path | str | None = None,
    validation: Manifest | None = None,
    channel_names: tuple[str, ...] | None = None,
    *,
    start: Classifier | None = None,
    resume: bool = False,
    loss: Loss = weighted_cross_entropy,
) -> Job[Classifier]:
    """Train a classifier.

    Parameters
    ----------
    manifest : Manifest
        Labelled rows are trained on, except those marked test and those marked validation, which are held out.
    settings : TrainSettings
    out : Path, optional
        Where to save the classifier, as .safetensors. An older file there is replaced only by a finished one; what
        a stopped run learnt is then saved beside it, as ``NAME.stopped.safetensors``.
    validation : Manifest, optional
        Specimens to hold out, instead of a part of `manifest`.
    channel_names : tuple of str, optional
    start : Classifier, optional
        Begin with its weights, network, size and scaling; its classes must be among those of the specimens.
    resume : bool
        Go on with a run that was killed or stopped, from the checkpoint beside `out`
        (``NAME.checkpoint.safetensors``). Needs the same specimens and settings.
    loss : callable
        ``loss(scores, truth, weights)``; others than the default are for tests of the sentinel.

    Yields
    ------
    Said, Planned, Skipped, StepDone, EpochDone, HeldOut, Saved

    Returns
    -------
    Classifier
        With the averaged weights of the last epoch; with `patience`, of the epoch of the least class-balanced
        log-loss on the validation specimens.

    Raises
    ------
    SettingsError
        Before anything starts, if the settings cannot work with these specimens.
    TrainingError
        If the loss goes wrong, too few specimens can be read, or the run is stopped before an epoch ended.
    """
    if out is not None:
        out = checked_out(out)
    keeper = Keeper(checkpoint_path(out) if out is not None else None)
    unfinished = _unfinished(keeper) if resume else None
    if start is not None:
        settings = following(start, settings)
    deal = deal_out(manifest, settings, validation)
    layout = with_layout(manifest, settings).layout
    settings = _resolved(settings, layout.channels, layout.axis)
    if start is not None:
        check_fit(start, deal.classes, layout.channels)
    names = _checked_names(channel_names or (start.channels if start else None), layout.channels)
    try:
        if not resume and keeper.path is not None and keeper.path.exists():
            yield Said(text=UNFINISHED.format(keeper.path.name), warning=True)
        yield from (Said(text=note, warning=True) for note in deal.notes)
        yield planned(deal, settings)
        data = yield from read_data(deal, settings, names, start.canvas if start else None)
        structure = unfinished.structure_of(settings.network) if unfinished else 0
        run = Run.begin(deal, data, settings, names, loss, start, structure)
        held = np.bincount(data.truth[data.validation], minlength=len(deal.classes))
        lacking = missing(deal.classes, held.tolist())
        run.warnings += [*(note for note in deal.notes if NOT_A_RATE in note), *lacking]
        yield from (Said(text=text, warning=True) for text in lacking)
        if resume and keeper.path is not None:
            restore(run, keeper.path)
            yield Said(text=f"Going on after epoch {run.ended} of {run.epochs}, in {run.way.precision} as before.")
        else:
            yield from run.choose_way()
    except Stopped:
        raise StoppedEarlyError(TOO_EARLY) from None
    classifier, held_out = yield from _fit(run, keeper, start)
    if out is not None:
        if classifier.stopped and out.exists():
            out = beside(out)
            yield Said(
                text=f"The run was stopped, so the older file stays; its result is in {out.name}.", warning=True
            )
        classifier.save(out)
        if not classifier.stopped:
            keeper.forget()
    worth = sentence(classifier.calibrated, classifier.temperature, classifier.metrics["calibration"])
    with suppress(Stopped):  # asked for after the end: there is nothing left to stop
        yield Said(text=worth, done=run.total, total=run.total)
    with suppress(Stopped):
        yield replace(held_out, done=run.total, total=run.total)
    if out is not None:
        with suppress(Stopped):
            yield Saved(path=out)
    return classifier


def checked_out(out: Path | str) -> Path:
    """Refuse a place that a classifier cannot be saved to, before anything runs."""
    out = Path(out)
    if out.suffix.lower() != ".safetensors":
        raise SettingsError(f"{out.name} should end in .safetensors. Save as {out.stem}.safetensors.")
    check_writable(out)
    return out


def _unfinished(keeper: Keeper) -> State:
    """Read what is known of the run to resume; refuse where there is none, before specimens are read."""
    if keeper.path is None:
        raise SettingsError("Resuming needs the file that the unfinished run was to save to. Name it with 'out'.")
    return read_state(keeper.path)


def _resolved(settings: TrainSettings, channels: int, axis: str) -> TrainSettings:
    """Record the channels that the specimens were read with."""
    return settings.model_copy(update={"channels": channels, "channel_axis": axis})


def _checked_names(names: tuple[str, ...] | None, channels: int) -> tuple[str, ...]:
    if not names:
        return tuple(f"Channel {place}" for place in range(1, channels + 1))
    if len(names) != channels:
        raise SettingsError(
            f"{len(names)} channel names were given ({', '.join(names)}) for specimens of {channels} channels. "
            f"Give one name for each channel, or none."
        )
    return tuple(names)


# ----------------------------------------------------------------------------------------- the epochs


def _fit(run: Run, keeper: Keeper, start: Classifier | None) -> Job[tuple[Classifier, HeldOut]]:
    """Run the epochs; a stop ends them early."""
    try:
        if not (run.continued or run.ended):
            yield from rehearse(run)
        while not run.over:
            training_loss = yield from _epoch(run)
            checked = yield from _check(run, training_loss)
            keeper.keep(run)
            yield checked
        for text in _judged(run):
            run.warnings.append(text)
            yield Said(text=text, warning=True)
    except Stopped:
        run.stopped = True
        if not run.ended:
            raise StoppedEarlyError(TOO_EARLY) from None
    finally:
        run.release()
    classifier, held_out = finished(run, start)
    return (yield from with_agreement(run, classifier)), held_out


def _epoch(run: Run) -> Job[float]:
    """Train on every training specimen once; returns the mean loss. A time budget ends it early."""
    total, seen = 0.0, 0
    weights = torch.from_numpy(run.weights).to(run.device)
    shifts = torch.from_numpy(run.shifts).to(run.device)
    run.network.train()
    with closing(ahead(_training_batches(run), run.data.pool.workers)) as batches:
        for batch in batches:
            yield from _skipped(run, batch)
            if len(batch.rows):
                loss = _learn(run, batch, weights, shifts)
                total, seen = total + loss * len(batch.rows), seen + len(batch.rows)
            run.step += 1
            yield run.tick()
            if run.settings.minutes and run.progress >= 1:
                break
    return total / max(seen, 1)


def _judged(run: Run) -> list[str]:
    """Look back on the epochs up to the one that is kept, if they were enough to judge."""
    history = run.history[: run.kept_epoch]
    if run.kept_raw is None or len(history) * run.steps < ENOUGH:
        return []
    read = ~np.isnan(run.kept_raw).any(axis=1)
    truth = run.data.truth[run.data.validation][read]
    # As if classes were equally common, whatever is called: always saying a common one is at chance, too.
    uniform = np.full(len(run.prior), 1 / len(run.prior))
    predicted = log_posterior(run.kept_raw[read], run.prior, uniform).argmax(axis=1)
    return looked_back(history, run.guessing, score(truth, predicted, run.deal.classes))


def _training_batches(run: Run) -> Iterator[Callable[[], Batch]]:
    """Deal the training specimens into batches of equal size, in the order that the seed decides."""
    random = np.random.default_rng([run.settings.seed, run.ended])
    rows = run.data.training
    order = epoch_order(random, rows, run.data.truth[rows], run.equal_classes)
    for place, rows in enumerate(np.array_split(order, run.steps)):
        yield partial(_prepared, run, rows, place)


def _prepared(run: Run, rows: Rows, place: int) -> Batch:
    if not run.settings.augment:
        return run.data.pool.batch(rows)
    # A generator of its own for each batch: threads cannot change what is drawn.
    random = np.random.default_rng([run.settings.seed, run.ended, place])
    side, channels = run.data.pool.form.side, len(run.channels)
    changes = draw_changes(random, len(rows), side, channels, run.settings.channel_dropout)
    return run.data.pool.batch(rows, changes)


def _learn(run: Run, batch: Batch, weights: Tensor, shifts: Tensor) -> float:
    """Take one optimiser step; returns the loss."""
    with torch.inference_mode(False), torch.enable_grad():
        pixels, truth = run.input_of(batch)
        loss = run.loss(run.scores_of(pixels) + shifts, truth, weights)
        value = float(loss.detach())
        if run.step == 0 and not run.continued:
            run.sentinel.check_start(value, run.chance(batch.rows))
        run.sentinel.check_step(value, run.step + 1)
        for group in run.optimiser.param_groups:
            group["lr"] = run.learning_rate()
        run.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        run.optimiser.step()
        run.average()
    return value


def _skipped(run: Run, batch: Batch) -> Iterator[Event]:
    for row, reason in batch.problems:
        yield Skipped(path=run.data.keys[row], reason=reason)


def _check(run: Run, training_loss: float) -> Job[EpochDone]:
    """Score the validation specimens, and keep the weights."""
    run.steady.eval()
    every, rows = [], []
    parts = np.array_split(run.data.validation, run.checks)
    with closing(ahead((partial(run.data.pool.batch, rows) for rows in parts), run.data.pool.workers)) as batches:
        for batch in batches:
            yield from _skipped(run, batch)
            if len(batch.rows):
                with torch.no_grad():
                    every.append(run.scores_of(run.input_of(batch)[0], run.steady).cpu().numpy())
                rows.append(batch.rows)
            yield run.tick()
    if not every:
        raise TrainingError("None of the validation specimens can be read any more. Check the disk they are on.")
    raw, read = np.concatenate(every), np.concatenate(rows)
    known = run.data.truth[read]
    uniform = np.full(len(run.prior), 1 / len(run.prior))
    value = balanced_log_loss(log_posterior(raw, run.prior, uniform), known)
    predicted = called(log_posterior(raw, run.prior, run.shown), run.shown, run.settings.decision)
    scores_now = score(known, predicted, run.deal.classes)
    run.ended += 1
    run.history.append((training_loss, value))
    whole = np.full((len(run.data.validation), len(run.prior)), np.nan, np.float32)
    whole[np.isin(run.data.validation, read)] = raw
    kept = run.keep(value, whole)
    return EpochDone(
        done=min(run.done, run.total),
        total=run.total,
        epoch=run.ended,
        epochs=run.epochs,
        training_loss=training_loss,
        validation_loss=value,
        scores=scores_now,
        kept=kept,
        seconds_left=run.seconds_left,
    )
