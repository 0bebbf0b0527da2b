"""The order in which training specimens are shown in an epoch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


def epoch_order(random: np.random.Generator, rows: Rows, truth: Rows, equal_classes: bool) -> Rows:
    """Shuffle the training specimens of an epoch.

    Parameters
    ----------
    random : numpy.random.Generator
    rows : (n,) integers
        The specimens to train on.
    truth : (n,) integers
        Their classes.
    equal_classes : bool
        Draw every class equally often: some of a common class are left out of an epoch, those of a rare class
        come several times.

    Returns
    -------
    (n,) integers
    """
    if not equal_classes:
        return random.permutation(rows)
    present = random.permutation(np.unique(truth))  # whose turn it is first decides who gets the remainder
    shares = np.full(len(present), len(rows) // len(present))
    shares[: len(rows) % len(present)] += 1
    drawn = [_drawn(random, rows[truth == one], share) for one, share in zip(present, shares, strict=True)]
    return random.permutation(np.concatenate(drawn))


def _drawn(random: np.random.Generator, rows: Rows, wanted: int) -> Rows:
    """Draw `wanted` of some specimens, none a second time before all had their turn."""
    rounds = -(-wanted // len(rows))
    return np.concatenate([random.permutation(rows) for _ in range(rounds)])[:wanted]
