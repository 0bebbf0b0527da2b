"""Does bfloat16 say the same as float32? Asked of the specimens held out, when a classifier is finished."""

from __future__ import annotations

from time import monotonic

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from napari_ctc.events import Event, Job
from napari_ctc.learn.batches import Pool
from napari_ctc.learn.canvas import Canvas
from napari_ctc.learn.ways import Way, folded, folded_scores
from napari_ctc.score.calibration import Reading

HARMLESS = 0.005  # largest change of a probability
MOST = 500  # specimens
SECONDS = 10.0  # of comparing; a slow network is asked of fewer specimens
BATCH = 16


class LowPrecision(BaseModel):
    """What bfloat16 changed in a classifier's answers on specimens held out.

    Parameters
    ----------
    specimens : int
        So many were compared.
    classes_changed : int
        Specimens that were called another class.
    largest_change : float
        Of a probability.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    specimens: int = Field(ge=1)
    classes_changed: int = Field(ge=0)
    largest_change: float = Field(ge=0, le=1)

    @property
    def harmless(self) -> bool:
        """Whether bfloat16 may be used where it is faster."""
        return not self.classes_changed and self.largest_change <= HARMLESS

    def __str__(self) -> str:
        """Say what changed, as in "it changed no class and probabilities by up to 0.0031 ..."."""
        changed = self.classes_changed
        classes = "no class" if not changed else "1 class" if changed == 1 else f"{changed} classes"
        return (
            f"it changed {classes} and probabilities by up to {self.largest_change:.2g} on {self.specimens} "
            f"specimens held out"
        )


def compare(
    network: nn.Module,
    reading: Reading,
    canvas: Canvas,
    pool: Pool,
    rows: NDArray[np.int64],
    device: torch.device,
) -> Job[LowPrecision | None]:
    """Compare the classes and probabilities of both precisions.

    Parameters
    ----------
    network : torch.nn.Module
        In evaluation mode.
    reading : Reading
        How its raw scores become probabilities and classes.
    canvas : Canvas
        Of what the pool keeps.
    pool : Pool
    rows : (n,) integers
        Places of the specimens in the pool; at most `MOST` of them are used.
    device : torch.device

    Returns
    -------
    LowPrecision or None
        None if no specimen could be read, or bfloat16 gave no numbers.
    """
    full, low = Way("float32"), Way("bfloat16")
    networks = {way: folded(network, way, device) for way in (full, low)}
    rows = np.random.default_rng(0).permutation(rows)[:MOST]
    start, compared, classes, largest = monotonic(), 0, 0, 0.0
    for part in np.array_split(rows, -(-len(rows) // BATCH)):
        batch = pool.batch(part)
        if len(batch.rows):
            with torch.inference_mode():
                pixels = canvas.to_input(batch.pixels, device)
                raw = [folded_scores(networks[way], pixels, way).cpu().numpy() for way in (full, low)]
            if not np.isfinite(raw).all():
                return None
            (one, called), (other, called_low) = map(reading, raw)
            compared += len(one)
            classes += int((called != called_low).sum())
            largest = max(largest, float(np.abs(one - other).max()))
        yield Event()
        if monotonic() - start > SECONDS:
            break
    if not compared:
        return None
    return LowPrecision(specimens=compared, classes_changed=classes, largest_change=largest)
