"""Show a person what the network would be shown: one specimen, augmented several times, in its own units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from napari_ctc.data.manifest import Manifest
from napari_ctc.errors import SpecimenError
from napari_ctc.events import Event, Job
from napari_ctc.learn.augment import draw_changes, moved
from napari_ctc.learn.batches import Moments
from napari_ctc.learn.canvas import Canvas, Form
from napari_ctc.learn.schedule import choose_sizes
from napari_ctc.settings import TrainSettings

VARIANTS = 8
MEASURED = 64  # specimens that the channels' spread is taken from


@dataclass(frozen=True)
class Preview:
    """One specimen, several times.

    Parameters
    ----------
    images : (VARIANTS, C, size, size) float32, in the specimens' units
        The first one unchanged.
    native : int, pixels of the specimen
        Side of the square, about the specimen's centre, that `size` pixels show.
    """

    images: NDArray[np.float32]
    native: int

    @property
    def pixel(self) -> float:
        """How many pixels of the specimen one pixel of the images is wide."""
        return self.native / int(self.images.shape[-1])


def preview(
    manifest: Manifest, row: int, settings: TrainSettings, random: np.random.Generator | None = None
) -> Job[Preview]:
    """Augment one specimen as a training run would.

    Parameters
    ----------
    manifest : Manifest
        Sizes and the channels' spread are taken from some of its specimens, spread over the set.
    row : int
        The specimen to show.
    settings : TrainSettings
    random : numpy.random.Generator, optional
        What to draw from; other changes each time without one.

    Raises
    ------
    SpecimenError
        If the specimen cannot be read.
    """
    specimen = manifest.specimen(row)
    moments, sides = Moments.of(specimen), [max(specimen.shape[:2])]
    places = np.unique(np.linspace(0, len(manifest) - 1, min(MEASURED, len(manifest))).round().astype(int))
    for done, place in enumerate(places.tolist()):
        yield Event(done=done, total=len(places))
        try:
            other = manifest.specimen(place)
        except SpecimenError:  # a run would leave it out, too
            continue
        if place != row:
            moments.add(Moments.of(other))
            sides.append(max(other.shape[:2]))
    native, size = choose_sizes(sides, settings)
    sd = moments.sd()
    sd[sd == 0] = 1
    canvas = Canvas(native, size, tuple(moments.mean.tolist()), tuple(sd.tolist()))
    form = Form.of(native, size, specimen.dtype)
    canvas = form.canvas(canvas)
    batch = np.repeat(form.kept(specimen)[None], VARIANTS, axis=0)
    changes = draw_changes(
        random or np.random.default_rng(), VARIANTS - 1, form.side, batch.shape[-1], settings.channel_dropout
    )
    device = torch.device("cpu")
    shown = torch.cat(
        [
            canvas.to_input(batch[:1], device),
            canvas.to_input(moved(batch[1:], changes), device, changes),
        ]
    )
    images = shown.numpy() * sd[:, None, None] + moments.mean[:, None, None]
    return Preview(np.ascontiguousarray(images, dtype=np.float32), native)
