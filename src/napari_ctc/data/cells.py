"""How one drawn specimen comes about: shapes, cells made of them, and the camera that pictures them.

What tells the classes apart is where a stain lies, not how much of it there is. Which specimens make up a
folder is the business of `drawn`.

Lengths are fractions of the specimen's side, (row, column). In a blob's window, u is the distance from its
centre: 0 there and 1 on its outline.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable

_DAPI, _CK, _CD45, _BRIGHT = range(4)

Image = NDArray[np.float32]
Window = tuple[slice, slice]
Point = tuple[float, float]


@dataclass(frozen=True)
class Scene:
    """Stain that lies on the glass, before lamp and camera.

    Parameters
    ----------
    rng : numpy.random.Generator
        Decides all that varies.
    stain : (4, H, W) float32
        Nucleus, cytokeratin, CD45 from 0; bright field, negative where it is darker than the empty glass.
    """

    rng: np.random.Generator
    stain: Image

    def blob(
        self, at: Point, radius: float, *, stretch: float = 1.0, wobble: float = 0.06
    ) -> tuple[Window, Image]:
        """Return the window that holds a wobbly ellipse and, for each pixel in it, u."""
        size = self.stain.shape[-1]
        angle = self.rng.uniform(0, 2 * math.pi)
        waves = self.rng.uniform(-wobble, wobble, 6).astype(np.float32)
        reach = 1.5 * radius * stretch
        window, axes = [], []
        for centre in at:
            first, last = (min(max(int((centre + side * reach) * size), 0), size) for side in (-1, 1))
            window.append(slice(first, last))
            axes.append((np.arange(first, last, dtype=np.float32) + 0.5) / size - np.float32(centre))
        cos, sin = math.cos(angle), math.sin(angle)
        y = (axes[0][:, None] * cos - axes[1] * sin) / (radius * stretch)
        x = (axes[0][:, None] * sin + axes[1] * cos) * (stretch / radius)
        rho = np.sqrt(x * x + y * y) + np.float32(1e-6)
        # Multiple angles by multiplication: exact on every machine, and far cheaper than arctan2.
        c1, s1 = x / rho, y / rho
        c2, s2 = c1 * c1 - s1 * s1, 2 * c1 * s1
        c3, s3 = c2 * c1 - s2 * s1, s2 * c1 + c2 * s1
        c5, s5 = c2 * c3 - s2 * s3, s2 * c3 + c2 * s3
        outline = 1 + waves[0] * c2 + waves[1] * s2 + waves[2] * c3 + waves[3] * s3
        outline += 0.5 * (waves[4] * c5 + waves[5] * s5)
        return (window[0], window[1]), rho / outline

    def add(self, channel: int, window: Window, amount: Image) -> None:
        """Let stain pile up."""
        self.stain[channel][window] += amount

    def cover(self, channel: int, window: Window, amount: Image) -> None:
        """Add without piling up, so that overlapping lobes stay one nucleus."""
        view = self.stain[channel][window]
        np.maximum(view, amount, out=view)

    def outline_in_bright_field(self, window: Window, u: Image, contrast: float) -> None:
        """Draw a whole membrane: a dark edge with a bright fringe."""
        self.add(_BRIGHT, window, contrast * (0.5 * _ring(u, 1.2, 0.2) - _ring(u, 1.0, 0.17)))
        self.add(_BRIGHT, window, -0.25 * contrast * _fill(u, 0.15))

    def darken_in_bright_field(self, window: Window, u: Image, contrast: float) -> None:
        """Draw a dense lump without a membrane."""
        view = self.stain[_BRIGHT][window]
        np.minimum(view, -contrast * _fill(u, 0.35), out=view)
        self.add(_BRIGHT, window, 0.3 * contrast * _ring(u, 1.4, 0.3))


def _fill(u: Image, softness: float) -> Image:
    t: Image = np.clip((1 + softness - u) / (2 * softness), 0, 1)
    return t * t * (3 - 2 * t)


def _ring(u: Image, where: float, width: float) -> Image:
    t: Image = np.clip(1 - np.abs(u - where) / width, 0, 1)
    return t * t * (3 - 2 * t)


@lru_cache(maxsize=32)
def _spline(size: int, knots: int) -> Image:
    """Weights (size, knots) of the uniform cubic B-spline, which turn a few random numbers into clouds."""
    t = np.abs(np.linspace(1, knots - 2, size)[:, None] - np.arange(knots))
    near, far = 2 / 3 - t**2 + t**3 / 2, np.clip(2 - t, 0, None) ** 3 / 6
    weights: Image = np.where(t < 1, near, far).astype(np.float32)
    return weights


def _clouds(rng: np.random.Generator, size: int, knots: int) -> Image:
    """Smooth noise (size, size) of about unit spread, with features of a `knots`-th of the side."""
    weights = _spline(size, knots)
    knotted = rng.standard_normal((knots, knots), dtype=np.float32)
    across = np.matmul(knotted, weights.T)
    clouds = np.empty((size, size), np.float32)
    for row in range(0, size, 16):  # so small that BLAS starts no threads, which would wait for busy cores: 20 x
        np.matmul(weights[row : row + 16], across, out=clouds[row : row + 16])
    return 2 * clouds  # the spline halves the spread along each axis, more or less


def _beside(rng: np.random.Generator, at: Point, distance: float) -> Point:
    angle = rng.uniform(0, 2 * math.pi)
    return at[0] + distance * math.sin(angle), at[1] + distance * math.cos(angle)


# ------------------------------------------------------------------------------------------- cells


def draw_leukocyte(scene: Scene, at: Point) -> None:
    """Draw a white blood cell: CD45 as a ring, a small lobed nucleus, and at times a diffuse glow."""
    rng = scene.rng
    radius, brightness = rng.uniform(0.16, 0.24), rng.uniform(0.5, 1.0)
    window, u = scene.blob(at, radius, stretch=rng.uniform(1, 1.12), wobble=0.04)
    scene.add(_CD45, window, brightness * _ring(u, 0.9, rng.uniform(0.16, 0.26)))
    scene.add(_CD45, window, 0.15 * brightness * _fill(u, 0.1))
    # Eosinophils and the like glow in every channel: cytokeratin without a tumour cell.
    glow = rng.uniform(0.3, 0.8) if rng.random() < 0.25 else rng.uniform(0, 0.15)
    scene.add(_CK, window, glow * _fill(u, 0.25))
    scene.outline_in_bright_field(window, u, rng.uniform(0.12, 0.25))
    lobes, nucleus = int(rng.integers(2, 5)), rng.uniform(0.45, 1.0)
    turn = rng.uniform(0, 2 * math.pi)
    for lobe in range(lobes):
        angle = turn + lobe * rng.uniform(1.3, 1.9)
        away = radius * rng.uniform(0.28, 0.42)
        centre = at[0] + away * math.sin(angle), at[1] + away * math.cos(angle)
        window, u = scene.blob(centre, radius * rng.uniform(0.25, 0.36), stretch=rng.uniform(1, 1.25))
        scene.cover(_DAPI, window, nucleus * _fill(u, 0.2))


def draw_tumour_cell(scene: Scene, at: Point) -> None:
    """Draw a tumour cell: cytokeratin between the edge and a large smooth nucleus, no ring of CD45."""
    rng = scene.rng
    radius, brightness = rng.uniform(0.2, 0.29), rng.uniform(0.4, 1.0)
    window, u = scene.blob(at, radius, stretch=rng.uniform(1, 1.3), wobble=0.07)
    body = _fill(u, 0.12)
    scene.add(_CK, window, brightness * body)
    scene.add(_CD45, window, rng.uniform(0, 0.22) * body)  # bleed-through: everywhere alike, so no ring
    scene.outline_in_bright_field(window, u, rng.uniform(0.1, 0.25))
    centre = _beside(rng, at, radius * rng.uniform(0, 0.18))
    nuclear = radius * rng.uniform(0.55, 0.7)
    window, u = scene.blob(centre, nuclear, stretch=rng.uniform(1, 1.25), wobble=0.03)
    nucleus = _fill(u, 0.1)
    scene.stain[_CK][window] *= 1 - 0.7 * _fill(u, 0.25)
    scene.add(_DAPI, window, rng.uniform(0.3, 0.8) * nucleus)
    for _ in range(rng.integers(1, 4)):
        spot = _beside(rng, centre, nuclear * rng.uniform(0.1, 0.6))
        window, u = scene.blob(spot, nuclear * rng.uniform(0.14, 0.22))
        scene.stain[_DAPI][window] *= 1 - 0.5 * _fill(u, 0.5)


@dataclass(frozen=True, kw_only=True)
class _Form:
    """One way to fall apart. Ranges are (least, most); `size` and `spread` are parts of the radius."""

    pieces: tuple[int, int]
    size: float
    spread: float
    softness: float
    stretch: tuple[float, float] = (1, 1.4)
    ghost: bool = False  # a pale body without inner structure


_FORMS = (
    _Form(pieces=(5, 10), size=0.22, spread=1.0, softness=0.25),  # fragments
    _Form(pieces=(2, 2), size=0.55, spread=0.5, softness=0.45, stretch=(1.4, 1.8)),  # a smear
    _Form(pieces=(3, 3), size=0.2, spread=1.0, softness=0.45, ghost=True),
    _Form(pieces=(3, 5), size=0.5, spread=1.0, softness=0.3),  # a clump
)


def draw_debris(scene: Scene, at: Point) -> None:
    """Draw what is left of a cell, or never was one: any stain, in lumps, with neither ring nor nucleus."""
    rng = scene.rng
    form = _FORMS[rng.integers(len(_FORMS))]
    radius = rng.uniform(0.13, 0.25)
    stained = rng.uniform(0.1, 0.9, 3) * (rng.random(3) < (0.8, 0.5, 0.4))
    stained[rng.integers(3)] += 0.3
    strengths = dict(zip((_DAPI, _CK, _CD45), stained.tolist(), strict=True))
    if form.ghost:
        window, u = scene.blob(at, radius * 1.1, stretch=rng.uniform(1, 1.4), wobble=0.15)
        for channel, strength in strengths.items():
            scene.add(channel, window, 0.6 * strength * _fill(u, 0.45))
        scene.outline_in_bright_field(window, u, rng.uniform(0.02, 0.1))
    for _ in range(rng.integers(*form.pieces, endpoint=True)):
        centre = _beside(rng, at, radius * rng.uniform(0, form.spread))
        size = radius * form.size * rng.uniform(0.6, 1.4)
        window, u = scene.blob(centre, size, stretch=rng.uniform(*form.stretch), wobble=0.16)
        fill = _fill(u, form.softness)
        for channel, strength in strengths.items():
            scene.cover(channel, window, strength * rng.uniform(0.2, 1.2) * fill)
        scene.darken_in_bright_field(window, u, rng.uniform(0.05, 0.3))


def draw_surroundings(scene: Scene) -> None:
    """Draw cut-off neighbours and specks, which every slide has and which say nothing of the class."""
    rng = scene.rng
    for _ in range(rng.choice(3, p=(0.6, 0.32, 0.08))):
        draw_leukocyte(scene, _beside(rng, (0.5, 0.5), rng.uniform(0.54, 0.64)))
    for _ in range(rng.integers(0, 6)):
        window, u = scene.blob((rng.random(), rng.random()), rng.uniform(0.008, 0.03), wobble=0.15)
        speck = _fill(u, 0.5)
        scene.cover(int(rng.integers(3)), window, rng.uniform(0.2, 1.0) * speck)
        scene.add(_BRIGHT, window, -rng.uniform(0, 0.25) * speck)


# ------------------------------------------------------------------------------------- the picture


@dataclass(frozen=True)
class Slide:
    """What the specimens of one slide share.

    Parameters
    ----------
    gain, background : (4, 1, 1) float32
        Stain strength and empty glass of each channel; 1 is the brightest that the camera counts.
    tilt : (4, 2) float32
        How much brighter the lower and the right edge are lit than the middle, for each channel.
    noise : float
        Spread of the camera's noise at a brightness of 0.7.
    """

    gain: Image
    background: Image
    tilt: Image
    noise: float


@lru_cache(maxsize=64)
def slide(seed: int, number: int) -> Slide:
    """Return the slide of this number."""
    rng = np.random.default_rng([seed, number, 1])
    gain = np.append(rng.uniform(0.6, 0.9, 3), rng.uniform(0.8, 1.2))
    background = np.append(rng.uniform(0.04, 0.08, 3), rng.uniform(0.5, 0.65))
    return Slide(
        gain=gain.reshape(4, 1, 1).astype(np.float32),
        background=background.reshape(4, 1, 1).astype(np.float32),
        tilt=rng.uniform(-0.25, 0.25, (4, 2)).astype(np.float32),
        noise=float(rng.uniform(0.012, 0.03)),
    )


def photograph(scene: Scene, on: Slide) -> NDArray[np.uint8]:
    """Turn stain (4, H, W) into counts (H, W, 4): grain, haze, uneven light, noise, saturation."""
    rng, stain = scene.rng, scene.stain
    size = stain.shape[-1]
    haze = on.background * rng.uniform(0.9, 1.1, (4, 1, 1)).astype(np.float32)
    side = np.linspace(-1, 1, size, dtype=np.float32)
    light = np.empty_like(stain)
    for channel, grain in enumerate((0.16, 0.28, 0.25, 0.1)):
        down, across = on.tilt[channel]
        light[channel] = stain[channel] * (1 + grain * _clouds(rng, size, 30))
        light[channel] *= on.gain[channel]
        light[channel] += haze[channel] + np.float32(0.02) * _clouds(rng, size, 6)
        light[channel] *= (1 + down * side)[:, None] * (1 + across * side)
    noise = rng.standard_normal(light.shape, dtype=np.float32)
    light += noise * on.noise * np.sqrt(0.3 + np.clip(light, 0, 1))  # photons: brighter is noisier
    counts = np.rint(np.clip(light, 0, 1) * 255).astype(np.uint8)
    return np.ascontiguousarray(np.moveaxis(counts, 0, -1))  # (H, W, 4)


CELLS: dict[str, Callable[[Scene, Point], None]] = {
    "leukocyte": draw_leukocyte,
    "debris": draw_debris,
    "tumour cell": draw_tumour_cell,
}
