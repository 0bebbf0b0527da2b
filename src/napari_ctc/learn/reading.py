"""Read the specimens of a run once: their sizes from the headers, then pixels, scaling and digests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_ctc.data.formats import Array
from napari_ctc.data.manifest import Manifest
from napari_ctc.data.specimens import Contents, content_digest, describe
from napari_ctc.errors import SpecimenError, TrainingError
from napari_ctc.events import Event, Job, Said, Skipped, StepDone
from napari_ctc.learn.batches import Moments, Pool, ahead
from napari_ctc.learn.canvas import Canvas, Form
from napari_ctc.learn.deal import Deal
from napari_ctc.learn.schedule import choose_sizes
from napari_ctc.learn.seen import copies
from napari_ctc.settings import TrainSettings

Rows = NDArray[np.int64]

PULSE = 0.1  # seconds between signs of life
Answer = tuple[Moments | None, str] | SpecimenError


@dataclass(frozen=True)
class Data:
    """The specimens of a run, measured.

    Parameters
    ----------
    pool : Pool
        Training specimens first, then validation.
    keys : list of str
        Of the specimens in the pool.
    truth : (N,) integers
        The class of each specimen in the pool.
    training, validation : (n,) integers
        Places in the pool of the specimens that could be read and are used.
    canvas : Canvas
        Of the classifier.
    digests : tuple of str, sorted
        Of the training specimens.
    held_digests : tuple of str
        Of the validation specimens, in the order of `validation`.
    constant : tuple of int
        Channels with the same value in every training specimen.
    warnings : tuple of str
        What the specimens' pixels say of the figures to come, without file names.
    """

    pool: Pool
    keys: list[str]
    truth: Rows
    training: Rows
    validation: Rows
    canvas: Canvas
    digests: tuple[str, ...]
    held_digests: tuple[str, ...]
    constant: tuple[int, ...]
    warnings: tuple[str, ...] = ()

    @property
    def kept(self) -> Canvas:
        """How what the pool keeps becomes the network's input."""
        return self.pool.form.canvas(self.canvas)


def read_data(
    deal: Deal, settings: TrainSettings, channel_names: tuple[str, ...], canvas: Canvas | None = None
) -> Job[Data]:
    """Read and measure the specimens of a run; those that cannot be read are left out.

    So are validation specimens with the pixels of a training specimen, unless there are no others.

    Parameters
    ----------
    deal : Deal
    settings : TrainSettings
    channel_names : tuple of str
    canvas : Canvas, optional
        Sizes and scaling to use, instead of those that suit these specimens.

    Raises
    ------
    TrainingError
        If too few of a class can be read.
    """
    keys = [*deal.training.keys, *deal.validation.keys]
    truth = np.concatenate([deal.training_truth, deal.validation_truth])
    is_training = np.arange(len(keys)) < len(deal.training)
    contents = yield from _survey([deal.training, deal.validation], keys)
    good = np.array([one is not None for one in contents])
    yield from _require(deal, truth, is_training, good)
    sides = [max(one.height, one.width) for one, use in zip(contents, is_training, strict=True) if one and use]
    native, size = (canvas.native, canvas.size) if canvas else choose_sizes(sides, settings)
    yield Said(text=_size_sentence(native, size))
    yield Said(text=f"Reading {int(good.sum()):,} specimens.")
    types = Counter(one.dtype for one in contents if one)
    mixed = _types_sentence(types) if len(types) > 1 else ""
    if mixed:
        yield Said(text=mixed, warning=True)
    dtype = np.result_type(*types)
    readers: list[Callable[[], Array]] = [
        *(partial(deal.training.specimen, row) for row in range(len(deal.training))),
        *(partial(deal.validation.specimen, row) for row in range(len(deal.validation))),
    ]
    pool = Pool(readers, Form.of(native, size, dtype), len(channel_names))
    moments, digests = yield from _measure(pool, keys, is_training, good)
    yield from _require(deal, truth, is_training, good)
    assert moments is not None
    contrary, example = _contrary(keys, truth, digests, deal.classes)
    if contrary:
        yield Said(text=f"{contrary} {example}", warning=True)
    training, held = np.flatnonzero(good & is_training), np.flatnonzero(good & ~is_training)
    trained = sorted(digests[place] for place in training.tolist())
    same, told = copies(trained, [digests[place] for place in held.tolist()])
    if told:
        yield Said(text=told, warning=True)
    held = held[~same]
    sd = moments.sd()
    constant = tuple(int(channel) for channel in np.flatnonzero(sd == 0))
    if len(constant) == len(channel_names):
        raise TrainingError(
            "Every channel has the same value in every training specimen, so nothing can be learnt. Check how the "
            "specimens were saved."
        )
    flat = [
        f"{channel_names[channel]} has the same value ({moments.mean[channel]:g}) in every training specimen, so "
        f"nothing can be learnt from it. Check how the specimens were saved."
        for channel in constant
    ]
    yield from (Said(text=text, warning=True) for text in flat)
    sd[sd == 0] = 1
    canvas = canvas or Canvas(native, size, tuple(moments.mean.tolist()), tuple(sd.tolist()))
    return Data(
        pool=pool,
        keys=keys,
        truth=truth,
        training=training,
        validation=held,
        canvas=canvas,
        digests=tuple(trained),
        held_digests=tuple(digests[place] for place in held.tolist()),
        constant=constant,
        warnings=tuple(filter(None, (mixed, contrary, told, *flat))),
    )


def _survey(manifests: list[Manifest], keys: list[str]) -> Job[list[Contents | None]]:
    """Read each file's header; None for a file that cannot be read."""
    contents: list[Contents | None] = []
    known: dict[Path, Contents | SpecimenError] = {}  # a stack's header is read once
    pulse = monotonic()
    for manifest in manifests:
        for row in range(len(manifest)):
            path, _ = manifest.locate(row)
            if path not in known:
                try:
                    known[path] = describe(path, manifest.layout)
                except SpecimenError as problem:
                    known[path] = problem
            found = known[path]
            if isinstance(found, SpecimenError):
                yield Skipped(path=keys[len(contents)], reason=str(found))
                contents.append(None)
            else:
                contents.append(found)
            if monotonic() - pulse > PULSE:
                pulse = monotonic()
                yield StepDone(epoch=0, epochs=0)
    return contents


def _measure(
    pool: Pool, keys: list[str], is_training: NDArray[np.bool_], good: NDArray[np.bool_]
) -> Job[tuple[Moments | None, dict[int, str]]]:
    """Read every specimen and digest it by place; marks in `good` those that could not be read."""
    moments: Moments | None = None
    digests = {}
    places = np.flatnonzero(good).tolist()
    calls = (partial(_measured, pool, place, bool(is_training[place])) for place in places)
    pulse = monotonic()
    with closing(ahead(calls, workers=2)) as answers:
        for place, answer in zip(places, answers, strict=True):
            if isinstance(answer, SpecimenError):
                good[place] = False
                yield Skipped(path=keys[place], reason=str(answer))
                continue
            measured, digests[place] = answer
            if measured is not None:
                if moments is None:
                    moments = measured
                else:
                    moments.add(measured)
            if monotonic() - pulse > PULSE:
                pulse = monotonic()
                yield StepDone(epoch=0, epochs=0)
    return moments, digests


def _measured(pool: Pool, place: int, training: bool) -> Answer:
    try:
        specimen = pool.read(place)
    except SpecimenError as problem:
        return problem
    return Moments.of(specimen) if training else None, content_digest(specimen)


def _contrary(keys: list[str], truth: Rows, digests: dict[int, str], classes: tuple[str, ...]) -> tuple[str, str]:
    """Say that specimens have the same pixels and different labels, and name two; empty sentences if none have."""
    alike: dict[str, list[int]] = {}
    for place, digest in digests.items():
        alike.setdefault(digest, []).append(place)
    found = [places for places in alike.values() if len(set(truth[places].tolist())) > 1]
    if not found:
        return "", ""
    one = found[0][0]
    other = next(place for place in found[0] if truth[place] != truth[one])
    return (
        f"{sum(map(len, found)):,} specimens have the same pixels as one of another label. One of each is wrong: "
        f"look at them, and at whether the table was shuffled."
    ), f"{keys[one]} is called '{classes[truth[one]]}' and {keys[other]} '{classes[truth[other]]}'."


def _require(deal: Deal, truth: Rows, is_training: NDArray[np.bool_], good: NDArray[np.bool_]) -> Iterator[Event]:
    """Refuse to go on when too few specimens of a class can be read."""
    if good.all():
        return
    lost = int((~good).sum())
    yield Said(text=f"{lost:,} of {len(good):,} specimens cannot be read and are left out.", warning=True)
    size = len(deal.classes)
    both = np.bincount(truth[good], minlength=size)
    training = np.bincount(truth[good & is_training], minlength=size)
    for name, here, of_both in zip(deal.classes, training, both, strict=True):
        if not here or of_both < 2:
            raise TrainingError(
                f"{lost:,} of {len(good):,} specimens cannot be read, and of '{name}' {of_both} of them remain "
                f"({here} for training), which is too few. Look at the reasons given for the skipped files."
            )
    if not (good & ~is_training).any():
        raise TrainingError(
            "None of the validation specimens can be read. Look at the reasons given for the skipped files."
        )


def _types_sentence(types: Counter[np.dtype[Any]]) -> str:
    found = ", ".join(f"{count:,} of {one}" for one, count in types.most_common())
    return (
        f"The specimens are of several number types: {found}. All values are scaled alike, so see that one number "
        f"means the same brightness in each; if not, save them alike."
    )


def _size_sentence(native: int, size: int) -> str:
    if native == size:
        return f"Specimens are shown to the network at their own scale, on a square of {size} pixels."
    return (
        f"Specimens are put on a square of {native} pixels, and that is scaled to {size} pixels, all by the same "
        f"factor of {size / native:.2f}."
    )
