"""A training batch for a CUDA card: three transfers, and all that is done to its pixels is done there.

Turning, flipping, shifting, scaling and noise are some thirty calculations, which take the card a tenth of a step
and Python, asking for them one by one, as long as the step. Here they are functions of tensors alone, so that they
go into the graph of the step (`gradients`). The numbers are those of `augment` and `Canvas.to_input`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from napari_ctc.data.formats import Array
from napari_ctc.learn.augment import APART, Changes
from napari_ctc.learn.batches import Batch, Pool
from napari_ctc.learn.canvas import Canvas


class Parcel(NamedTuple):
    """A batch before it is sent, or on the card.

    Parameters
    ----------
    pixels : (B, native, native, C) tensor
        As the run keeps them.
    numbers : (3, B, C) float32
        What to multiply with and what to add, for scaling, gain and offset; and the noise's standard deviation.
    places : (7, B) int64
        Whether to turn, to flip rows, to flip columns; shifts of rows and columns, pixels; where in the table of
        noise its first row's begins; the class.
    """

    pixels: Tensor
    numbers: Tensor
    places: Tensor

    def sent(self, device: torch.device) -> Parcel:
        """Send it, without waiting for what the card still computes."""
        return Parcel(*(one.to(device, non_blocking=True) for one in self))


def parcel(
    pool: Pool, canvas: Canvas, rows: NDArray[np.int64], changes: Changes, truth: NDArray[np.int64]
) -> tuple[Batch, Parcel]:
    """Gather a batch in memory from which a card can fetch it by itself.

    Parameters
    ----------
    pool : Pool
    canvas : Canvas
        By which what the pool keeps is scaled.
    rows : (B,) integers
        Places in the pool.
    changes : Changes
    truth : (N,) integers
        The class of each specimen in the pool.

    Returns
    -------
    Batch
        Of those that could be read, not changed yet.
    Parcel
    """
    if pool.kept is not None:
        gathered = _gathered(pool.kept, rows)
        batch = Batch(gathered.numpy(), rows, changes)
    else:
        batch = pool.batch(rows)
        if len(batch.rows) < len(rows):
            changes = changes.of(np.flatnonzero(np.isin(rows, batch.rows)))
        batch, gathered = Batch(batch.pixels, batch.rows, changes, batch.problems), None
    pixels, factor, shift = canvas.numbers(batch.pixels, changes)
    if gathered is None or pixels is not batch.pixels:
        gathered = _pinned(np.ascontiguousarray(pixels))
    numbers = np.stack([factor, shift, changes.noise])
    windows = changes.window + APART * np.arange(len(batch.rows))
    places = [changes.turn, *changes.flip.T, *changes.shift.T, windows, truth[batch.rows]]
    return batch, Parcel(gathered, _pinned(numbers.astype(np.float32)), _pinned(np.stack(places).astype(np.int64)))


def input_of(canvas: Canvas, given: Parcel, dtype: torch.dtype, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Change and scale the pixels of a batch on its device.

    Parameters
    ----------
    canvas : Canvas
    given : Parcel
    dtype : torch.dtype
        Of what the network takes.
    noise : (n,) tensor
        The table of noise, on the device.

    Returns
    -------
    (B, C, size, size) of this dtype, (B,) int64
        The network's input, and the classes.
    """
    pixels, numbers, places = given
    count, side, _, channels = pixels.shape
    factor, shift, sd = numbers[:, :, None].repeat(1, 1, 1, side)  # (B, 1, side * C) each, for rows of pixels
    rows = _moved(pixels, places).flatten(2).float()
    rows = torch.addcmul(shift, rows, factor)
    if canvas.size != side:
        images = rows.view(pixels.shape).permute(0, 3, 1, 2)
        images = F.interpolate(
            images, size=(canvas.size, canvas.size), mode="bilinear", antialias=True, align_corners=False
        )
        rows = images.permute(0, 2, 3, 1).flatten(2)
        sd = numbers[2, :, None].repeat(1, 1, canvas.size)
    starts = places[5, :, None] + APART * torch.arange(canvas.size, device=pixels.device)  # (B, size)
    rows = torch.addcmul(rows, noise.unfold(0, rows.shape[2], 1)[starts], sd)
    return rows.to(dtype).view(count, canvas.size, canvas.size, channels).permute(0, 3, 1, 2), places[6]


def _moved(pixels: Tensor, places: Tensor) -> Tensor:
    """Turn, flip and shift, as `augment.moved` does: by one look-up of every pixel."""
    count, side = pixels.shape[:2]
    turn, flips, shifts = places[0, :, None, None] > 0, places[1:3, :, None] > 0, places[3:5, :, None]
    here = (torch.arange(side, device=pixels.device) - shifts).clamp(0, side - 1)  # (2, B, side)
    rows, columns = torch.where(flips, side - 1 - here, here)
    rows, columns = rows[:, :, None], columns[:, None]
    source = torch.where(turn, columns * side + rows, rows * side + columns)  # (B, side, side)
    which = torch.arange(count, device=pixels.device)[:, None, None]
    # PyTorch looks up no unsigned numbers of 16 bits.
    numbers = pixels.view(torch.int16) if pixels.dtype == torch.uint16 else pixels
    return numbers.flatten(1, 2)[which, source].view(pixels.dtype)


def _gathered(kept: Array, rows: NDArray[np.int64]) -> Tensor:
    """Gather specimens straight into memory from which a card fetches."""
    flat = torch.from_numpy(kept.reshape(len(kept), -1).view(np.uint8))
    kind = torch.from_numpy(kept[:0]).dtype
    here = torch.empty((len(rows), *kept.shape[1:]), dtype=kind, pin_memory=torch.cuda.is_available())
    torch.index_select(flat, 0, torch.from_numpy(rows), out=here.view(len(rows), -1).view(torch.uint8))
    return here


def _pinned(array: Array) -> Tensor:
    here = torch.from_numpy(array)
    return here.pin_memory() if torch.cuda.is_available() else here
