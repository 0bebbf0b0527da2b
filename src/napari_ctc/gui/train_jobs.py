"""The long work behind the dock "Train classifier", as jobs: survey, train, resume, cross-validate, load and save.

No Qt here. Torch is imported inside the jobs and so in the worker's thread, since it takes a second or two.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_ctc.data.files import checkpoint_path, is_folder
from napari_ctc.data.manifest import Manifest
from napari_ctc.data.specimens import Layout
from napari_ctc.errors import ClassifierError, CTCError, SettingsError, StoppedEarlyError
from napari_ctc.events import Event, Job, Planned, Said

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_ctc.apply.crossval_result import CrossValidation
    from napari_ctc.learn.classifier import Classifier
    from napari_ctc.learn.preview import Preview
    from napari_ctc.settings import TrainSettings

SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Source:
    """What to train on: specimens open here, or a path still to be opened.

    Parameters
    ----------
    open_ones : callable, optional
        Gives the manifest of the labelled specimens that are open here, in the thread of the job.
    path : Path, optional
        A manifest file, or a folder whose subfolders are the classes.
    channel_names : tuple of str, optional
    """

    open_ones: Callable[[], Manifest] | None = None
    path: Path | None = None
    channel_names: tuple[str, ...] | None = None

    def open(self, settings: TrainSettings) -> Manifest:
        """Return the manifest, read from the path if there is one."""
        if self.open_ones is not None:
            return self.open_ones()
        if self.path is None:
            raise SettingsError(
                "There is nothing to train on. Open specimens and label some, or choose a manifest or a folder."
            )
        return Manifest.open(self.path, Layout(settings.channels, settings.channel_axis), subfolders="label")

    def fitted(self, settings: TrainSettings, manifest: Manifest) -> TrainSettings:
        """Return the settings with the channels of specimens that are open already."""
        layout = manifest.layout
        return settings.model_copy(update={"channels": layout.channels, "channel_axis": layout.axis})

    def names_for(self, manifest: Manifest) -> tuple[str, ...] | None:
        """Return the channel names, if there is one for each channel."""
        fits = self.channel_names is not None and len(self.channel_names) == manifest.layout.channels
        return self.channel_names if fits else None


@dataclass(frozen=True, kw_only=True)
class Counted(Event):
    """The labelled specimens of each class that may be trained on, before they are split."""

    classes: tuple[str, ...]
    counts: tuple[int, ...]

    @property
    def sentence(self) -> str:
        """The counts, and what always saying the largest class would score."""
        total, most = sum(self.counts), max(self.counts, default=0)
        if not total:
            return ""
        counts = " · ".join(f"{name} {number:,}" for name, number in zip(self.classes, self.counts, strict=True))
        largest = self.classes[self.counts.index(most)]
        return (
            f"{counts}\nalways saying {largest}: accuracy {most / total:.2f}, "
            f"balanced accuracy {1 / len(self.classes):.2f}"
        )


@dataclass(frozen=True)
class Survey:
    """What a training run would do, or why it cannot be done."""

    planned: Planned | None = None
    notes: tuple[str, ...] = ()
    refusal: str = ""


def count(manifest: Manifest) -> Counted:
    """Count what may be trained on: labelled, and not marked as test."""
    table = manifest.table
    usable = manifest.rows(((table["label"] != "") & (table["split"] != "test")).to_numpy().nonzero()[0])
    classes = usable.classes
    return Counted(classes=classes, counts=tuple(usable.counts(classes).tolist()))


def survey(source: Source, settings: TrainSettings) -> Job[Survey]:
    """Look at what to train on: its classes, then the split and the weights; reads no pixel.

    A source or settings that cannot work make a refusal, not an error: nobody has asked for a run yet.
    """
    notes: tuple[str, ...] = ()
    try:
        manifest = source.open(settings)
        notes = manifest.notes
        yield count(manifest)
        from napari_ctc.learn.planning import check_settings, plan

        settings = source.fitted(settings, manifest)
        notes = (*notes, *check_settings(manifest, settings))
        return Survey(plan(manifest, settings), notes)
    except CTCError as problem:
        return Survey(None, notes, str(problem))


def fit(
    source: Source, settings: TrainSettings, out: Path, start: Classifier | None = None
) -> Job[Classifier | None]:
    """Train on a source, and save the classifier; None if stopped before there was one."""
    if start is not None:  # the form has a network and a size in any case
        settings = settings.model_copy(update={"network": start.settings.network, "size": 0})
    return (yield from _trained(source, settings, out, start))


def resume(source: Source, out: Path, known: Sequence[Classifier | None]) -> Job[Classifier | None]:
    """Go on with the unfinished run that was to save to `out`, with its own settings.

    Parameters
    ----------
    source : Source
    out : Path
    known : sequence of Classifier
        Among which is the one that the run began from, if it began from any.
    """
    yield Said(text="Getting ready…")
    from napari_ctc.learn.checkpoints import read_state

    state = read_state(checkpoint_path(out))
    start = next((one for one in known if one is not None and one.digest == state.parent), None)
    if state.parent and start is None:
        raise SettingsError(
            f"The unfinished run began from the classifier {state.parent[:8]}, which is not in use. Load that "
            f"one, then resume."
        )
    return (yield from _trained(source, state.settings, out, start, resume=True))


def _trained(
    source: Source, settings: TrainSettings, out: Path, start: Classifier | None, resume: bool = False
) -> Job[Classifier | None]:
    manifest = source.open(settings)
    yield Said(text="Getting ready…")
    from napari_ctc.learn.training import train

    settings = source.fitted(settings, manifest)
    names = source.names_for(manifest)
    try:
        return (yield from train(manifest, settings, out, channel_names=names, start=start, resume=resume))
    except StoppedEarlyError:  # the person knows: no error, and no result
        return None


def cross_validate(
    source: Source, settings: TrainSettings, out: Path | None, folds: int, on: str = "here"
) -> Job[CrossValidation | None]:
    """Hold every labelled specimen of a source out once; None if stopped before the first fold ended.

    Parameters
    ----------
    on : str
        Where folds are trained, see `Place.parse`.
    """
    manifest = source.open(settings)
    yield Said(text="Getting ready…")
    from napari_ctc.apply.crossval import cross_validate as cross_validate_job

    settings = source.fitted(settings, manifest)
    try:
        return (yield from cross_validate_job(manifest, settings, out, folds, source.names_for(manifest), on))
    except StoppedEarlyError:
        return None


def preview(manifest: Manifest, row: int, settings: TrainSettings) -> Job[Preview]:
    """Augment the specimen of a row as a training run would; other changes each time."""
    yield Said(text="Getting ready…")
    from napari_ctc.learn.preview import preview as preview_job

    return (yield from preview_job(manifest, row, settings))


def load(path: Path, channels: int | None) -> Job[tuple[Classifier, Path]]:
    """Load a classifier file; `channels` are those of the open specimens, None if there are none."""
    yield Event()
    from napari_ctc.learn.loading import load_classifier

    classifier = load_classifier(path)
    if channels is not None and classifier.channel_count != channels:
        raise ClassifierError(
            f"{path.name} is a classifier of {classifier.channel_count} channels "
            f"({', '.join(classifier.channels)}), but the open specimens have {channels}. Choose a classifier "
            f"trained on {channels} channels, or open the specimens that belong to this one."
        )
    return classifier, path


def save(classifier: Classifier, path: Path) -> Job[Path]:
    """Save a classifier to a file, whole or not at all."""
    yield Said(text=f"Saving {path.name}…")
    classifier.save(path)
    return path


def unfinished(text: str) -> Path | None:
    """Return the checkpoint of a run that was to save to a place, if there is one."""
    path = _with_suffix(text)
    try:
        return checkpoint if path.name and (checkpoint := checkpoint_path(path)).is_file() else None
    except (OSError, ValueError, RuntimeError):  # no such name is possible, so there is no such file
        return None


def _with_suffix(text: str) -> Path:
    path = Path(text.strip()).expanduser()
    return path if path.suffix.lower() == SUFFIX or not path.name else path.with_name(path.name + SUFFIX)


def checked_path(text: str) -> Path:
    """Return where to save a classifier, its suffix added where it is missing.

    Raises
    ------
    SettingsError
        If the place is not named, is no file of this kind, or cannot be written to.
    """
    if not text.strip():
        raise SettingsError("It is not said where to save the classifier. Choose a file under 'Save to'.")
    path = _with_suffix(text)
    if is_folder(path):
        raise SettingsError(f"{path} is a folder. Name a file in it to save the classifier to.")
    if not is_folder(path.parent):
        raise SettingsError(f"The folder {path.parent} does not exist. Choose another place under 'Save to'.")
    if not os.access(path.parent, os.W_OK):
        raise SettingsError(f"The folder {path.parent} cannot be written to. Choose another under 'Save to'.")
    return path
