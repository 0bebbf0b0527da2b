from __future__ import annotations

import numpy as np
import pytest
from skimage.feature import local_binary_pattern

from napari_ctc.review.patterns import PATTERNS, REACH, pattern_shares


@pytest.mark.parametrize("shape", [(64, 64), (33, 47), (5, 7), (2, 9), (1, 1)])
@pytest.mark.parametrize("most", [2, 40, 32000])
def test_patterns_are_those_of_scikit_image(shape, most):
    images = np.random.default_rng(most).integers(-most, most, (9, *shape)).astype(np.int16)
    images[:, : shape[0] // 2] = most // 3  # as bright as its neighbours: a tie
    for image, found in zip(images, pattern_shares(images), strict=True):
        codes = local_binary_pattern(image, 8, REACH, "uniform").astype(int)
        assert np.array_equal(
            found, (np.bincount(codes.ravel(), minlength=PATTERNS) / codes.size).astype(np.float32)
        )
