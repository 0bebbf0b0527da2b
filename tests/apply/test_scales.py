"""Specimens of another number of bits are told, and those of another lamp, stain or background are not."""

import numpy as np
import pytest

from napari_ctc.apply.scales import unlike_scale
from napari_ctc.data.manifest import Manifest
from napari_ctc.data.specimens import Layout

MEAN, SD = (40.0, 120.0), (30.0, 12.0)


def specimens(folder, change) -> Manifest:
    random = np.random.default_rng(0)
    for number in range(20):
        pixels = np.abs(random.normal(MEAN, SD, (12, 14, 2)))
        np.save(folder / f"{number}.npy", change(pixels))
    return Manifest.open(folder, Layout(2))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda pixels: (pixels * 257).astype(np.uint16), "about 257 times those"),
        (lambda pixels: pixels / 255, "about 1/255 of those"),
        (lambda pixels: pixels + 1e6, "times those"),
    ],
)
def test_values_of_another_order_are_told(tmp_path, change, said):
    assert said in unlike_scale(specimens(tmp_path, change), MEAN, SD)


@pytest.mark.parametrize(
    "change",
    [
        lambda pixels: pixels.astype(np.uint8),
        lambda pixels: pixels * 3,
        lambda pixels: pixels * (100, 1),  # one channel, as with a stain that is new
        lambda pixels: pixels * 0 + MEAN,  # bare background
        lambda pixels: pixels * 0,  # nothing at all, which has no scale
    ],
)
def test_values_of_the_same_order_are_not(tmp_path, change):
    assert unlike_scale(specimens(tmp_path, change), MEAN, SD) == ""


def test_what_cannot_be_read_is_passed_over(tmp_path):
    manifest = specimens(tmp_path, lambda pixels: pixels / 255)
    (tmp_path / "0.npy").write_bytes(b"")
    assert unlike_scale(manifest, MEAN, SD)
    for path in tmp_path.glob("*.npy"):
        path.unlink()
    assert unlike_scale(manifest, MEAN, SD) == ""
