"""The epochs of a run: its steps, its checks on the specimens held out, and what is looked back on at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_ctc.errors import Stopped, StoppedEarlyError, TrainingError
from napari_ctc.events import EpochDone, Event, HeldOut, Job, Said, Skipped
from napari_ctc.learn.augment import draw_changes
from napari_ctc.learn.batches import Batch, ahead
from napari_ctc.learn.checkpoints import Keeper
from napari_ctc.learn.classifier import Classifier
from napari_ctc.learn.finishing import finished, with_agreement
from napari_ctc.learn.memory import reused_memory
from napari_ctc.learn.on_card import Parcel
from napari_ctc.learn.rehearsal import rehearse
from napari_ctc.learn.runs import Run
from napari_ctc.learn.sampling import epoch_order
from napari_ctc.learn.sentinel import ENOUGH, looked_back
from napari_ctc.score.calibration import called, log_posterior
from napari_ctc.score.metrics import balanced_log_loss, score

Rows = NDArray[np.int64]

TOO_EARLY = "Training was stopped before its first epoch ended, so there is no classifier."


def fit(run: Run, keeper: Keeper, start: Classifier | None) -> Job[tuple[Classifier, HeldOut]]:
    """Choose how to compute, and run the epochs; a stop ends them early.

    Raises
    ------
    TrainingError
        If the loss goes wrong, or none of the specimens can be read any more.
    StoppedEarlyError
        If the run is stopped before its first epoch ended.
    """
    with run.threads, reused_memory():
        try:
            if not run.ended:
                yield from run.choose_way()
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
    run.network.train()
    with closing(ahead(_training_batches(run), run.data.pool.workers(run.device))) as batches:
        ready = _ready(run, batches)
        while ready is not None:
            batch, given = ready
            yield from _skipped(run, batch)
            if given is None:
                ready = _ready(run, batches)
            else:
                with run.threads.step():
                    computed = _learn(run, given)
                ready = _ready(run, batches)  # while a graphics card still computes
                loss = float(computed)
                if run.step == 0 and not run.continued:
                    run.sentinel.check_start(loss, run.chance(batch.rows))
                run.sentinel.check_step(loss, run.step + 1)
                total, seen = total + loss * len(batch.rows), seen + len(batch.rows)
            run.step += 1
            yield run.tick()
            if run.settings.minutes and run.progress >= 1:
                break
    return total / max(seen, 1)


def _ready(
    run: Run, batches: Iterator[tuple[Batch, Parcel | None]]
) -> tuple[Batch, tuple[Tensor, ...] | None] | None:
    """Bring the next batch to the device, if any of it could be read; None after the last."""
    gathered = next(batches, None)
    if gathered is None:
        return None
    batch, packed = gathered
    if not len(batch.rows):
        return batch, None
    with torch.inference_mode(False):
        return batch, run.input_of(batch) if packed is None else packed.sent(run.device)


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


def _training_batches(run: Run) -> Iterator[Callable[[], tuple[Batch, Parcel | None]]]:
    """Deal the training specimens into batches of equal size, in the order that the seed decides."""
    random = np.random.default_rng([run.settings.seed, run.ended])
    rows = run.data.training
    order = epoch_order(random, rows, run.data.truth[rows], run.equal_classes)
    for place, rows in enumerate(np.array_split(order, run.steps)):
        yield partial(_prepared, run, rows, place)


def _prepared(run: Run, rows: Rows, place: int) -> tuple[Batch, Parcel | None]:
    if not run.settings.augment:
        return run.training_batch(rows, None)
    # A generator of its own for each batch: threads cannot change what is drawn.
    random = np.random.default_rng([run.settings.seed, run.ended, place])
    side, channels = run.data.pool.form.side, len(run.channels)
    return run.training_batch(rows, draw_changes(random, len(rows), side, channels, run.settings.channel_dropout))


def _learn(run: Run, given: tuple[Tensor, ...]) -> Tensor:
    """Take one optimiser step; returns the loss, which the device may still compute."""
    loss = run.gradients(*given)
    with torch.inference_mode(False):
        run.optimiser.step(run.learning_rate())
        run.average()
    return loss


def _skipped(run: Run, batch: Batch) -> Iterator[Event]:
    for row, reason in batch.problems:
        yield Skipped(path=run.data.keys[row], reason=reason)


def _check(run: Run, training_loss: float) -> Job[EpochDone]:
    """Score the validation specimens, and keep the weights."""
    run.steady.eval()
    every, rows = [], []
    parts = np.array_split(run.data.validation, run.checks)
    gathered, workers = (partial(run.data.pool.batch, rows) for rows in parts), run.data.pool.workers(run.device)
    with closing(ahead(gathered, workers)) as batches:
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
    predicted = called(raw, run.prior, run.shown, run.settings.decision)
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
