"""`train`: the job that turns labelled specimens into a classifier.

Checks and splits are in `deal`, sizes and steps in `planning`, reading in `reading`, the state in `runs`, the
epochs in `epochs`, the classifier that comes of them in `finishing`.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_ctc.data.files import beside, check_writable, checkpoint_path, exists
from napari_ctc.data.hunted import NOT_A_RATE
from napari_ctc.data.manifest import Manifest
from napari_ctc.data.splits import marks_validation
from napari_ctc.errors import SettingsError, Stopped, StoppedEarlyError
from napari_ctc.events import Job, Resumed, Said, Saved
from napari_ctc.learn.checkpoints import Keeper, State, read_state, restore
from napari_ctc.learn.classifier import Classifier
from napari_ctc.learn.continuing import check_fit, following
from napari_ctc.learn.deal import deal_out, with_layout
from napari_ctc.learn.devices import choose_device, name_of
from napari_ctc.learn.epochs import TOO_EARLY, fit
from napari_ctc.learn.losses import weighted_cross_entropy
from napari_ctc.learn.planning import check_settings, plan, planned
from napari_ctc.learn.reading import read_data
from napari_ctc.learn.runs import Loss, Run
from napari_ctc.learn.seen import promises_too_much, seen_before
from napari_ctc.learn.sentinel import missing
from napari_ctc.score.reliability import sentence
from napari_ctc.settings import TrainSettings

__all__ = ["check_settings", "plan", "train"]

Rows = NDArray[np.int64]

UNFINISHED = (
    "An unfinished run is here ({}), and this one replaces it. To go on with it instead, stop now and resume it."
)


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
        Begin with its weights, network, size and scaling; its classes must be among those of the specimens. What
        it was trained on is not held out, wherever there are others to hold out.
    resume : bool
        Go on with a run that was killed or stopped, from the checkpoint beside `out`
        (``NAME.checkpoint.safetensors``). Needs the same specimens and settings.
    loss : callable
        ``loss(scores, truth, weights)``; others than the default are for tests of the sentinel.

    Yields
    ------
    Said, Planned, Resumed, Skipped, StepDone, EpochDone, HeldOut, Saved

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
        for note in (*manifest.notes, *(validation.notes if validation else ())):
            yield Said(text=note, warning=True)
        if not resume and keeper.path is not None and exists(keeper.path):
            yield Said(text=UNFINISHED.format(keeper.path.name), warning=True)
        if start is not None and start.training_digests and validation is None and not marks_validation(manifest):
            seen = yield from seen_before(with_layout(manifest, settings), start.training_digests)
            deal = deal_out(manifest, settings, seen=seen)
        yield from (Said(text=note, warning=True) for note in deal.notes)
        yield planned(deal, settings, name_of(choose_device(settings.device)))
        data = yield from read_data(deal, settings, names, start.canvas if start else None)
        structure = unfinished.structure_of(settings.network) if unfinished else 0
        run = Run.begin(deal, data, settings, names, loss, start, structure)
        held = np.bincount(data.truth[data.validation], minlength=len(deal.classes))
        doubts = missing(deal.classes, held.tolist())
        doubts += promises_too_much(start.training_digests if start else (), data.held_digests)
        run.warnings += [*(note for note in deal.notes if NOT_A_RATE in note), *data.warnings, *doubts]
        yield from (Said(text=text, warning=True) for text in doubts)
        if resume and keeper.path is not None:
            restore(run, keeper.path)
            yield Resumed(epoch=run.ended, losses=tuple(run.history), kept=run.kept_epoch)
            yield Said(text=f"Going on after epoch {run.ended} of {run.epochs}, in {run.way.precision} as before.")
    except Stopped:
        raise StoppedEarlyError(TOO_EARLY) from None
    classifier, held_out = yield from fit(run, keeper, start)
    if out is not None:
        if classifier.stopped and exists(out):
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
