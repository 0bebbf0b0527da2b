"""Tell whether specimens have values on the scale of those that a classifier was trained on.

A classifier of 8-bit images says something of 16-bit ones, too, and surely; it means nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from napari_ctc.data.manifest import Manifest
from napari_ctc.data.survey import spread
from napari_ctc.errors import SpecimenError

LOOKED_AT = 16  # specimens, spread over the set
FAR = 10.0  # times as large or small, in every channel: no lamp and no stain does that


def unlike_scale(manifest: Manifest, mean: Sequence[float], sd: Sequence[float]) -> str:
    """Say so where the values of specimens are of another order than those in training; else nothing.

    Parameters
    ----------
    manifest : Manifest
        What cannot be read of it is passed over.
    mean, sd : sequences of C float
        Of the training specimens' pixels, in their units.

    Notes
    -----
    Compared is the root of the mean square, which a bare background or a rare bright specimen hardly changes.
    """
    squares: list[NDArray[np.float64]] = []
    for row in spread(len(manifest), LOOKED_AT):
        with suppress(SpecimenError):
            specimen = manifest.specimen(row).astype(np.float64)  # (H, W, C)
            squares.append((specimen * specimen).mean(axis=(0, 1)))
    if not squares:
        return ""
    here, there = np.sqrt(np.mean(squares, axis=0)), np.hypot(mean, sd)  # (C,)
    if not here.all() or not ((here > FAR * there).all() or (here < there / FAR).all()):
        return ""
    times = float(np.median(here / there))
    said = f"{times:,.0f} times" if times > 1 else f"1/{1 / times:,.0f} of"
    return (
        f"What the classifier says of these specimens means little: their values are about {said} those that it "
        f"was trained on (in channel 1 about {_short(here[0])}, and there {_short(there[0])}). Save them on the "
        f"same scale, or train on some of them."
    )


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
