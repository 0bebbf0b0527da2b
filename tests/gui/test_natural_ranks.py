"""Names are ranked as a person reads them, in one way whether they are all built alike or each in its own."""

from __future__ import annotations

import re

import numpy as np
import pytest

from napari_ctc.gui.predicted_order import natural_ranks

NAMES = {
    "built alike": [f"slide_{n // 10}/specimen_{n:05d}.npy" for n in range(0, 120, 7)],
    "numbers of different lengths": ["s10.npy", "s2.npy", "S9.npy", "s100/1.npy", "s99/12.npy"],
    "each in its own way": [f"{'ab' * (n % 41)}{n}.{n % 7}" for n in range(200)],
    "blanks and repeats": ["b2", "", "a10", "b2", "", "a2"],
    "more digits than are filled up": ["a123456789012345", "a99", "a100"],
    "a line break in a name": ["x1\ny2", "x10", "x2\ny1"],
    "none": [],
}


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_names_are_ranked_with_their_numbers_as_numbers(names):
    shuffled = np.array(names, dtype=object)[np.random.default_rng(1).permutation(len(names))]
    found = natural_ranks(shuffled)
    wanted = {name: re.sub(r"\d+", lambda digits: digits[0].zfill(12), name.casefold()) for name in names}
    places = {text: place for place, text in enumerate(sorted({text for text in wanted.values() if text}))}
    ranks = [places.get(wanted[name], np.nan) for name in shuffled]
    compared = np.array([np.searchsorted(np.unique(found[np.isfinite(found)]), one) for one in found], float)
    compared[np.isnan(found)] = np.nan
    np.testing.assert_array_equal(compared, np.array(ranks, float))
