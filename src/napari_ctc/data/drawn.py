"""Drawn specimens: sample data like circulating tumour cells among blood cells, and a folder of them.

A leukocyte wears CD45 as a ring around a small lobed nucleus, a tumour cell wears cytokeratin around a large
smooth one, and debris carries any stain in lumps. How they are drawn is in `cells`; reading specimens and
tables is the business of `specimens` and `manifest`.
"""

from __future__ import annotations

import csv
import io
import math
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from napari_ctc.data.cells import CELLS, Scene, draw_surroundings, photograph
from napari_ctc.data.cells import slide as slide_of
from napari_ctc.errors import SettingsError, SpecimenError, Stopped
from napari_ctc.events import Drawn, Job, Saved

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

CLASSES = ("leukocyte", "debris", "tumour cell")
CHANNELS = ("DAPI", "cytokeratin", "CD45", "bright field")
SHARES = (0.54, 0.45, 0.01)
SLIDES = 8
FEWEST = 6  # specimens of a class, for training, validation and test to have some each

_SECONDS_BETWEEN_EVENTS = 0.1


def draw_specimen(
    kind: str, *, slide: int = 0, seed: int = 0, index: int = 0, size: int = 224
) -> NDArray[np.uint8]:
    """Draw one specimen.

    Parameters
    ----------
    kind : str
        One of `CLASSES`.
    slide : int
        Which slide it lies on, from 0; a slide has its own stain strength, background and lamp.
    seed, index : int
        Same arguments, same specimen, however many are drawn and in whichever order.
    size : int, pixels
        Height and width. Everything scales with it: the same specimen, seen with fewer pixels.

    Returns
    -------
    (size, size, 4) uint8
        The channels of `CHANNELS`.

    Raises
    ------
    SettingsError
        If there is no such class, or a number is out of range.

    Notes
    -----
    Between processors, a pixel whose brightness falls on a rounding edge may differ by one count.
    """
    if kind not in CLASSES:
        raise SettingsError(f"There is no class {kind!r} to draw; choose one of {', '.join(CLASSES)}.")
    if min(slide, seed, index) < 0 or size < 16:
        raise SettingsError(
            f"Cannot draw slide {slide}, seed {seed}, index {index} at {size} pixels: the first three start "
            f"at 0 and the size at 16. Choose larger numbers."
        )
    rng = np.random.default_rng([seed, index])
    scene = Scene(rng, np.zeros((len(CHANNELS), size, size), np.float32))
    draw_surroundings(scene)
    CELLS[kind](scene, (0.5 + rng.uniform(-0.09, 0.09), 0.5 + rng.uniform(-0.09, 0.09)))
    return photograph(scene, slide_of(seed, slide))


def plan_labels(specimens: int, seed: int = 0, shares: Sequence[float] = SHARES) -> list[str]:
    """Choose the class of each specimen of a folder.

    Parameters
    ----------
    specimens : int
        How many.
    seed : int
        Decides the order, not the counts.
    shares : three numbers that sum to 1, dimensionless
        The part of each class of `CLASSES`.

    Returns
    -------
    list of str, in random order
        The counts are the shares, rounded by the largest remainder. Of 60 specimens or more, each class with
        a share gets at least 6, taken from the largest class, so that a folder of 300 can be split.

    Raises
    ------
    SettingsError
        If there is nothing to draw, or the shares are no shares.
    """
    if specimens < 1:
        raise SettingsError(f"Cannot draw {specimens} specimens; the number starts at 1. Ask for more.")
    if seed < 0:
        raise SettingsError(f"The seed is {seed}; seeds start at 0. Choose 0 or a larger one.")
    if len(shares) != len(CLASSES) or not min(shares) >= 0 or not math.isclose(sum(shares), 1, abs_tol=1e-6):
        raise SettingsError(
            f"The shares {tuple(shares)} cannot be used: there must be one for each of {', '.join(CLASSES)}, "
            f"none negative, and they must sum to 1. Change them."
        )
    exact = np.asarray(shares) / sum(shares) * specimens
    counts = np.floor(exact + 1e-6).astype(int)
    for place in np.argsort(counts - exact, kind="stable")[: specimens - counts.sum()]:
        counts[place] += 1
    if specimens >= 60:
        for place in np.flatnonzero((exact > 0) & (counts < FEWEST)):
            counts[counts.argmax()] -= FEWEST - counts[place]
            counts[place] = FEWEST
    labels = np.repeat(np.arange(len(CLASSES)), counts)
    return [CLASSES[label] for label in np.random.default_rng([seed, specimens, 2]).permutation(labels)]


def plan_slides(labels: Sequence[str], slides: int = SLIDES) -> list[int]:
    """Deal the specimens of each class out to the slides in turn.

    A rare class thus lies on as many slides as it can, and a split that keeps slides together can have it on
    both sides.

    Parameters
    ----------
    labels : sequence of str
        The class of each specimen.
    slides : int
        How many slides there are.

    Returns
    -------
    list of int, from 0
        The slide of each specimen.
    """
    dealt: dict[str, int] = {}
    plan = []
    for label in labels:
        plan.append(dealt.get(label, 0) % slides)
        dealt[label] = dealt.get(label, 0) + 1
    return plan


def write_drawn(
    folder: Path, specimens: int = 300, *, seed: int = 0, size: int = 224, shares: Sequence[float] = SHARES
) -> Job[Path]:
    """Draw specimens into a new folder, with the manifest that labels them.

    Parameters
    ----------
    folder : Path
        A new or empty folder; gets ``slide_1/specimen_00000.npy`` and so on, and ``manifest.csv``.
    specimens, seed, shares
        As in `plan_labels`.
    size : int, pixels
        As in `draw_specimen`.

    Yields
    ------
    Drawn
        At least every 200 ms.
    Saved
        The manifest stands.

    Returns
    -------
    Path
        Of the manifest, with the columns ``path,label,source``; of what was drawn, if the job was stopped.

    Raises
    ------
    SettingsError
        If a number is out of range.
    SpecimenError
        If the folder holds something already, or cannot be written.
    """
    folder = Path(folder)
    labels = plan_labels(specimens, seed, shares)
    slides = plan_slides(labels)
    manifest, rows = folder / "manifest.csv", []
    try:
        _require_empty(folder)
        spoken = time.monotonic()
        for index, (label, slide) in enumerate(zip(labels, slides, strict=True)):
            specimen = draw_specimen(label, slide=slide, seed=seed, index=index, size=size)
            source = f"slide_{slide + 1}"
            name = f"specimen_{index:05d}.npy"
            (folder / source).mkdir(parents=True, exist_ok=True)
            _write_whole(folder / source / name, partial(np.save, arr=specimen, allow_pickle=False))
            rows.append((f"{source}/{name}", label, source))
            if time.monotonic() - spoken > _SECONDS_BETWEEN_EVENTS or len(rows) in (1, specimens):
                spoken = time.monotonic()
                try:
                    yield Drawn(done=len(rows), total=specimens)
                except Stopped:
                    break
        lines = [("path", "label", "source"), *rows]
        _write_whole(manifest, partial(_write_lines, lines=lines))
    except OSError as error:
        raise SpecimenError(
            f"{folder} could not be written ({error.strerror or error}); drawn specimens need an empty "
            f"folder and about {specimens * size * size * 4 / 1e6:.0f} MB. Choose another folder."
        ) from error
    with suppress(Stopped):
        yield Saved(done=len(rows), total=specimens, path=manifest)
    return manifest


def _require_empty(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise SpecimenError(f"{folder} is a file; drawn specimens need a folder. Choose another name.")
    if folder.is_dir() and any(folder.iterdir()):
        raise SpecimenError(
            f"{folder} is not empty; drawn specimens need a new or an empty folder, so that nothing is "
            f"overwritten. Choose another folder, or empty this one."
        )


def _write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a file that takes its name only when it is complete."""
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            write(file)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _write_lines(file: BinaryIO, lines: Sequence[Sequence[str]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    file.write(text.getvalue().encode())
