"""At which size a run looks at specimens, and how many steps and epochs it has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_ctc.learn.networks import NETWORKS, stem_of
from napari_ctc.settings import TrainSettings

Rows = NDArray[np.int64]

LARGEST_CHOSEN = 224  # pixels; larger specimens are brought down to it unless a size is set
SHOWN = 390_000  # the most, if the epochs are not set, where the first stage sees 32 pixels: a quarter of an hour
ENOUGH = 130_000  # shown; a set so small that this takes more than the usual epochs learns from these, too
FEWEST_EPOCHS, USUAL_EPOCHS, MOST_EPOCHS = 8, 60, 150


def choose_sizes(sides: Sequence[int] | Rows, settings: TrainSettings) -> tuple[int, int]:
    """Choose the sides of the canvas and of the network's input.

    Parameters
    ----------
    sides : integers, pixels
        The longer side of each training specimen.
    settings : TrainSettings

    Returns
    -------
    native, size : int, pixels
        Equal where specimens need no resizing.
    """
    network = NETWORKS[settings.network]
    native = int(np.ceil(np.percentile(np.asarray(sides), 95)))
    rounded = max(-(-native // 8) * 8, network.smallest if network.fixed_size is None else 24)
    size = network.fixed_size or settings.size or min(rounded, LARGEST_CHOSEN)
    return (size if size == rounded else native), size


def choose_steps(specimens: int, size: int, settings: TrainSettings) -> tuple[int, int]:
    """Choose how many steps an epoch has and how many epochs there are.

    Parameters
    ----------
    specimens : int
    size : int, pixels
        Side of the network's input: what costs more is shown less often.
    settings : TrainSettings

    Returns
    -------
    steps, epochs : int

    Notes
    -----
    Long schedules pay, those of small sets as well, but nobody waits all day: whatever the number and the size, a
    training is to end within a quarter of an hour on two cores, until the fewest epochs of a very large set take
    longer. The cost follows the area that the network's first stage sees: docs/benchmarks.md has the rates.
    """
    batch = settings.batch_size or min(32, max(4, specimens // 8))
    steps = -(-specimens // min(batch, specimens))
    side = size / stem_of(size)[1]
    shown = SHOWN * min((32 / side) ** 2, 1)
    most = np.clip(ENOUGH // specimens, USUAL_EPOCHS, MOST_EPOCHS)
    return steps, settings.epochs or int(np.clip(round(shown / specimens), FEWEST_EPOCHS, most))
