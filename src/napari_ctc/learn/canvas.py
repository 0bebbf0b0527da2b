"""From specimens of any size and dtype to the network's input, at one scale for the whole set.

`Canvas` crops and pads integers on the host and scales on the device; `Form` is how a run keeps them meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from napari_ctc.data.formats import Array
from napari_ctc.data.room import Room
from napari_ctc.learn.augment import Changes, Noise, in_rows, noise_of

Floats = NDArray[np.float64]

NUMBERS_IN_CACHE = 2**17  # that are scaled together; half a megabyte of float32
ON_DEVICE = {np.dtype(name) for name in ("uint8", "int8", "int16", "uint16", "float16", "float32")}


@dataclass(frozen=True)
class Canvas:
    """The square that every specimen is put on, and how its values are scaled.

    Parameters
    ----------
    native : int, pixels
        Side of the square at the specimens' own scale: they are cropped or padded to it, about their centre.
    size : int, pixels
        Side of the square that the network sees; ``size / native`` is the one scale factor of the whole set.
    mean, sd : tuples of C float, in the specimens' units
    """

    native: int
    size: int
    mean: tuple[float, ...]
    sd: tuple[float, ...]

    def fit(self, specimen: Array) -> Array:
        """Crop or pad a specimen about its centre; the padding is each channel's median along the border.

        Parameters
        ----------
        specimen : (height, width, C) array

        Returns
        -------
        (native, native, C) array of the same dtype; the specimen itself where it fits already.
        """
        return fit(specimen, self.native)

    def batch(self, specimens: Sequence[Array]) -> Array:
        """Fit several specimens into one (B, native, native, C) array, of the dtype that holds all of theirs."""
        dtype = np.result_type(*{one.dtype for one in specimens})
        side = self.native
        batch = np.empty((len(specimens), side, side, len(self.mean)), dtype=dtype)
        for place, specimen in enumerate(specimens):
            batch[place] = self.fit(specimen)
        return batch

    def to_input(
        self,
        batch: Array,
        device: torch.device,
        changes: Changes | None = None,
        dtype: torch.dtype = torch.float32,
        room: Room | None = None,
    ) -> Tensor:
        """Bring a batch to the device and scale it there.

        Parameters
        ----------
        batch : (B, native, native, C) array
        device : torch.device
        changes : Changes, optional
            Whose gains, offsets and noise are applied.
        dtype : torch.dtype
            Of what the network takes: float32 is rounded to it last of all.
        room : Room, optional
            For the result on a processor, which is then true until it is used again.

        Returns
        -------
        (B, C, size, size) of this dtype
            In channels-last memory order, without a transpose on the way.
        """
        numbers, factor, shift = self.numbers(batch, changes)
        raw = torch.from_numpy(numbers).to(device)
        noise = None if changes is None else noise_of(changes, self.size, device)
        if self.size == self.native:  # all at once, which is faster
            return _scaled(raw, factor, shift, dtype, noise, room).permute(0, 3, 1, 2)
        pixels = _scaled(raw, factor, shift).permute(0, 3, 1, 2)
        pixels = F.interpolate(
            pixels, size=(self.size, self.size), mode="bilinear", antialias=True, align_corners=False
        )
        if noise is not None:
            pixels.permute(0, 2, 3, 1).view(len(batch), self.size, -1).addcmul_(*noise)
        return pixels.to(dtype)  # (B, C, size, size)

    def numbers(self, batch: Array, changes: Changes | None = None) -> tuple[Array, Floats, Floats]:
        """Say what a device is sent: numbers that it takes, and what it multiplies them with and adds.

        Parameters
        ----------
        batch : (B, native, native, C) array
        changes : Changes, optional
            Whose gains and offsets are in it.

        Returns
        -------
        (B, native, native, C) array, contiguous; the batch itself where it can be sent as it is.
        factor, shift : (B, C) float64
        """
        mean, factor = np.array(self.mean), 1 / np.array(self.sd)
        shift = np.zeros((1, 1))
        if changes is not None:
            factor, shift = factor * changes.gain, changes.offset
        factor, shift = (np.broadcast_to(one, (len(batch), len(mean))) for one in (factor, shift))
        if batch.dtype in ON_DEVICE:
            whole = batch if batch[:1].flags.c_contiguous else np.ascontiguousarray(batch)
            return whole, factor, shift - mean * factor
        # Wide numbers are scaled here, in double precision, which keeps small contrasts on large offsets.
        wide = (batch.astype(np.float64) - mean) * factor[:, None, None] + shift[:, None, None]
        return np.ascontiguousarray(wide, np.float32), np.ones_like(factor), np.zeros_like(shift)


def _scaled(
    raw: Tensor,
    factor: Floats,
    shift: Floats,
    dtype: torch.dtype = torch.float32,
    noise: Noise | None = None,
    room: Room | None = None,
) -> Tensor:
    """Multiply and add, a factor for each specimen and channel: (B, side, side, C), through float32 to a dtype.

    Some specimens at a time, which fit the processor's cache all the way, and in whole rows of pixels with the
    factors repeated: a loop over four channels at a time took four times as long.
    """
    specimens, side, _, channels = raw.shape
    rows = raw.view(specimens, side, side * channels)
    factors, shifts = (in_rows(one, side, raw.device)[:, None] for one in (factor, shift))  # (B, 1, side * C)
    pixels = _empty(rows.shape, dtype, raw.device, room)
    count = max(1, NUMBERS_IN_CACHE // rows[0].numel()) if raw.device.type == "cpu" else specimens
    wide = torch.empty((count, *rows.shape[1:]), device=raw.device) if dtype != torch.float32 else None
    # Cut up in one go: each call hands Python's lock over, for which others wait while a folder is classified.
    cuts = tuple(range(count, specimens, count))
    pieces = (torch.tensor_split(one, cuts) for one in (rows, pixels, shifts, factors, *(noise or ())))
    for raws, out, shifted, times, *added in zip(*pieces, strict=True):
        floats = out if wide is None else wide[: len(out)]
        floats.copy_(raws)
        torch.addcmul(shifted, floats, times, out=floats)
        if added:
            floats.addcmul_(*added)
        if wide is not None:
            out.copy_(floats)
    return pixels.view(raw.shape)


def _empty(shape: torch.Size, dtype: torch.dtype, device: torch.device, room: Room | None) -> Tensor:
    if room is None or device.type != "cpu":
        return torch.empty(shape, dtype=dtype, device=device)
    same_size = np.float32 if dtype == torch.float32 else np.uint16  # NumPy has no bfloat16
    return torch.from_numpy(room.array(tuple(shape), same_size)).view(dtype)


def fit(specimen: Array, side: int) -> Array:
    """Crop or pad a specimen to a square about its centre; see `Canvas.fit`."""
    height, width, channels = specimen.shape
    if height == side and width == side:
        return specimen
    top, left = max(height - side, 0) // 2, max(width - side, 0) // 2
    middle = specimen[top : top + side, left : left + side]
    if middle.shape[:2] == (side, side):
        return middle
    square = np.empty((side, side, channels), dtype=specimen.dtype)
    square[:] = _background(specimen)
    down, right = (side - middle.shape[0]) // 2, (side - middle.shape[1]) // 2
    square[down : down + middle.shape[0], right : right + middle.shape[1]] = middle
    return square


def _background(specimen: Array) -> Array:
    border = np.concatenate([specimen[0], specimen[-1], specimen[1:-1, 0], specimen[1:-1, -1]])  # (n, C)
    middle = len(border) // 2
    # The upper median: a value that occurs, so that no rounding is needed for any dtype.
    background: Array = np.partition(border, middle, axis=0)[middle]
    return background


# ------------------------------------------------------------------------------------- kept for a run

FINER: dict[np.dtype[np.generic], np.dtype[np.generic]] = {
    np.dtype("uint8"): np.dtype("uint16"),
    np.dtype("int8"): np.dtype("int16"),
}
STEPS = 256  # of a finer number in one of the file's


@dataclass(frozen=True)
class Form:
    """How a run keeps its specimens: on their canvas, and already at the network's size where that is smaller.

    Parameters
    ----------
    native, side : int, pixels
        Of the canvas, before and after.
    dtype : numpy.dtype
    steps : int
        How many of its units are one of the file's: numbers of 8 bits are kept finer, since rounding the mean of
        some pixels to whole ones would lose contrast.
    """

    native: int
    side: int
    dtype: np.dtype[np.generic]
    steps: int = 1

    @classmethod
    def of(cls, native: int, size: int, dtype: np.dtype[np.generic]) -> Form:
        """Choose the form for a size of the network and a dtype that holds every specimen."""
        if size >= native:
            return cls(native, native, dtype)
        return cls(native, size, FINER.get(dtype, dtype), STEPS if dtype in FINER else 1)

    def kept(self, specimen: Array) -> Array:
        """Bring a specimen, (height, width, C), into the form, (side, side, C)."""
        square = fit(specimen, self.native)
        if self.side == self.native:
            return square
        wide = np.float32 if square.dtype in ON_DEVICE else np.float64
        pixels = torch.from_numpy(square.astype(wide) * self.steps).permute(2, 0, 1)[None]
        pixels = F.interpolate(
            pixels, size=(self.side, self.side), mode="bilinear", antialias=True, align_corners=False
        )
        small: Array = pixels[0].permute(1, 2, 0).numpy()
        return (np.rint(small) if self.dtype.kind in "iu" else small).astype(self.dtype)

    def canvas(self, canvas: Canvas) -> Canvas:
        """Give the canvas by which what is kept becomes the same input as the specimens by another."""
        if self.side == self.native:
            return canvas
        mean, sd = (tuple(self.steps * one for one in values) for values in (canvas.mean, canvas.sd))
        return Canvas(self.side, canvas.size, mean, sd)
