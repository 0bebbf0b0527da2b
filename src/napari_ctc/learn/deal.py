"""Who trains and who validates, checked before a pixel is read: whatever cannot work is refused here."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from napari_ctc.data.hunted import rate_note
from napari_ctc.data.manifest import Manifest, rebase
from napari_ctc.data.specimens import Layout
from napari_ctc.data.splits import Split, note_on_sources, note_on_test, split
from napari_ctc.errors import SettingsError
from napari_ctc.learn.devices import check_device
from napari_ctc.score.calibration import read_proportions
from napari_ctc.settings import TrainSettings

Rows = NDArray[np.int64]

FEW = 10  # specimens of a class, below which its recall says little


@dataclass(frozen=True)
class Deal:
    """Who trains and who validates.

    Parameters
    ----------
    classes : tuple of str
    training, validation : Manifest
    training_truth, validation_truth : (n,) integers
        Places in `classes`.
    test : tuple of int
        Specimens of each class that were marked test, and that nobody touches.
    notes : tuple of str
    """

    classes: tuple[str, ...]
    training: Manifest
    validation: Manifest
    training_truth: Rows
    validation_truth: Rows
    test: tuple[int, ...]
    notes: tuple[str, ...] = ()

    def counts(self, part: Rows) -> tuple[int, ...]:
        """Count the specimens of each class."""
        return tuple(np.bincount(part, minlength=len(self.classes)).tolist())


def deal_out(
    manifest: Manifest,
    settings: TrainSettings,
    validation: Manifest | None = None,
    seen: NDArray[np.bool_] | None = None,
) -> Deal:
    """Check the settings and the labels, and deal the specimens into training and validation.

    Parameters
    ----------
    manifest : Manifest
    settings : TrainSettings
    validation : Manifest, optional
        Specimens to hold out, instead of a part of `manifest`.
    seen : (rows,) of bool, optional
        The rows of `manifest` that the classifier to start from was trained on, see `data.splits.split`.

    Raises
    ------
    SettingsError
    """
    _check_network(settings)
    _check_augmentation(settings)
    check_device(settings.device)
    manifest = with_layout(manifest, settings)
    marks = manifest.table["split"].to_numpy()
    labelled = manifest.labelled()
    used = manifest.rows(np.flatnonzero((manifest.table["label"] != "").to_numpy() & (marks != "test")))
    _check_labels(used, settings)
    if validation is None:
        classes = used.classes
        parts = _by_person(manifest, settings, seen)
        training, held, notes = manifest.rows(parts.train), manifest.rows(parts.validation), parts.notes
    else:
        training = used.rows(np.flatnonzero((used.table["split"] != "validation").to_numpy()))
        classes = training.classes
        held = with_layout(validation, settings).labelled()
        held = held.rows(np.flatnonzero((held.table["split"] != "test").to_numpy()))
        _check_authors(held, settings)
        _check_apart(training, held)
        known = held.labels(classes) >= 0
        notes = () if known.all() else (_foreign_note(held, known),)
        held = held.rows(np.flatnonzero(known))
        notes += tuple(filter(None, (note_on_sources(training, held), _note_on_authors(held))))
    deal = Deal(
        classes,
        training,
        held,
        training.labels(classes),
        held.labels(classes),
        tuple((labelled.counts(classes) - used.counts(classes)).tolist()),
        notes,
    )
    others = filter(None, (note_on_test(manifest), rate_note(training, held)))
    checked = replace(deal, notes=(*notes, *_checked_deal(deal, settings), *_alike(classes), *others))
    read_proportions(settings.proportions, classes, deal.counts(deal.training_truth))  # refused now, not later
    return checked


def _by_person(manifest: Manifest, settings: TrainSettings, seen: NDArray[np.bool_] | None) -> Split:
    """Hold out only what a person labelled; what a classifier did is learnt, save of held-out sources."""
    table = manifest.table
    label, marked = table["label"].to_numpy(), table["split"].to_numpy()
    theirs = (label != "") & (table["by"] == "classifier").to_numpy() & (marked != "test")
    persons = manifest.with_column("label", np.where(theirs, "", label))
    dealt = partial(split, fraction=settings.validation_fraction, seed=settings.seed, seen=seen)
    if not theirs.any() or len(persons.labelled().classes) < 2:  # too little of a person to hold out
        parts = dealt(manifest)
        return replace(
            parts, notes=(*parts.notes, *filter(None, [_note_on_authors(manifest.rows(parts.validation))]))
        )
    parts = dealt(persons)
    source = table["source"].to_numpy()
    held = np.isin(source, list(set(source[parts.validation]) - {""})) | (marked == "validation")
    train = np.union1d(parts.train, np.flatnonzero(theirs & ~held))
    note = (
        f"Of the {int(theirs.sum()):,} labels that a classifier gave, {int((theirs & ~held).sum()):,} are trained "
        f"on; those of held-out sources are left out, and none is held out."
    )
    return Split(train, parts.validation, (*parts.notes, note))


def _note_on_authors(held: Manifest) -> str:
    number = int((held.table["by"] == "classifier").sum())
    if not number:
        return ""
    return (
        f"{number:,} of the {len(held):,} validation labels were given by a classifier, not by a person: the "
        f"figures say how well this one agrees with it."
    )


def with_layout(manifest: Manifest, settings: TrainSettings) -> Manifest:
    """Let the channels that were set win over those that the manifest was opened with."""
    layout = manifest.layout
    chosen = settings.model_fields_set
    channels = settings.channels if "channels" in chosen else layout.channels
    axis = settings.channel_axis if "channel_axis" in chosen else layout.axis
    return replace(manifest, layout=Layout(channels, axis))


# ------------------------------------------------------------------------------------------ refusals


def _check_network(settings: TrainSettings) -> None:
    if not settings.size:
        return
    from napari_ctc.learn.networks import NETWORKS  # and torch with it

    network = NETWORKS[settings.network]
    if network.fixed_size and settings.size != network.fixed_size:
        raise SettingsError(
            f"The network '{settings.network}' takes specimens of {network.fixed_size} pixels only, not "
            f"{settings.size}. Set the size to {network.fixed_size} or 0, or choose the network 'compact'."
        )
    if settings.size < network.smallest:
        raise SettingsError(
            f"The network '{settings.network}' needs specimens of at least {network.smallest} pixels; the size "
            f"is set to {settings.size}. Set it to {network.smallest} or more, or to 0 to have it chosen."
        )


def _check_augmentation(settings: TrainSettings) -> None:
    if settings.channel_dropout and not settings.augment:
        raise SettingsError(
            f"The channel dropout is {settings.channel_dropout:g}, but 'augment' is off, so no specimen would be "
            f"changed. Turn 'augment' on, or set the channel dropout to 0."
        )


def _check_authors(used: Manifest, settings: TrainSettings) -> None:
    by_classifier = int((used.table["by"] == "classifier").sum())
    if by_classifier and not settings.accept_classifier_labels:
        raise SettingsError(
            f"{by_classifier:,} of the {len(used):,} labels were given by a classifier, not by a person. Leave "
            f"them out, or allow them with the setting accept_classifier_labels."
        )


def _check_apart(training: Manifest, held: Manifest) -> None:
    both = set(rebase(training.keys, training.root, held.root)) & set(held.keys)
    if both:
        raise SettingsError(
            f"{len(both):,} of the {len(held):,} validation specimens are also trained on, so they would promise "
            f"too much. Take them out of one of the two."
        )


def _check_labels(used: Manifest, settings: TrainSettings) -> None:
    if not len(used):
        raise SettingsError(
            "No specimen to train on has a label. Label some of each class first: in a table, labels stand in the "
            "column 'label', and specimens marked test do not count."
        )
    _check_authors(used, settings)
    classes = used.classes
    if len(classes) < 2:
        raise SettingsError(
            f"All {len(used):,} labelled specimens are called '{classes[0]}'. Training needs at least two "
            f"classes: label specimens of another."
        )
    seen: dict[str, str] = {}
    for name in classes:
        other = seen.setdefault(unicodedata.normalize("NFC", name), name)
        if other != name:
            raise SettingsError(
                f"Two classes are called '{name}': they look the same, but are written in different characters "
                f"(an accent may be one of its own). Give both the same name."
            )


def _checked_deal(deal: Deal, settings: TrainSettings) -> list[str]:
    training, validation = deal.counts(deal.training_truth), deal.counts(deal.validation_truth)
    if len(deal.classes) < 2:
        raise SettingsError("The specimens to train on have fewer than two classes. Label some of another.")
    for name, here, there in zip(deal.classes, training, validation, strict=True):
        if here + there < 2:
            raise SettingsError(
                f"'{name}' has one labelled specimen. Each class needs two or more, one to learn from and one "
                f"to check with: label another, or clear this label."
            )
        if not here:
            raise SettingsError(
                f"'{name}' has no training specimen: all of its {there} are held out for validation. Label some "
                f"from another source, or mark some of them 'train' in the column split."
            )
    if not sum(validation):
        why = " ".join(deal.notes) or "Label more of each class."
        raise SettingsError(f"No specimen is left for validation, which tells how good the classifier is. {why}")
    if settings.batch_size > sum(training):
        raise SettingsError(
            f"The batch of {settings.batch_size} specimens is larger than the training set of "
            f"{sum(training):,}. Set the batch size to {sum(training)} or less, or to 0 to have it chosen."
        )
    return [
        f"'{name}' has only {here + there} labelled specimens: what is said of it will be uncertain."
        for name, here, there in zip(deal.classes, training, validation, strict=True)
        if here + there < FEW
    ]


def _alike(classes: tuple[str, ...]) -> list[str]:
    """Tell of names that differ in capitals alone: mostly a slip, and at times meant."""
    names: dict[str, list[str]] = {}
    for name in classes:
        names.setdefault(name.casefold(), []).append(f"'{name}'")
    return [
        f"The classes {' and '.join(same)} differ in capitals alone, and are learnt apart. If they are one class, "
        f"give it one name."
        for same in names.values()
        if len(same) > 1
    ]


def _foreign_note(held: Manifest, known: NDArray[np.bool_]) -> str:
    names = ", ".join(sorted(set(held.table["label"].to_numpy()[~known])))
    return f"{int((~known).sum())} validation specimens are of classes that are not trained ({names}): left out."
