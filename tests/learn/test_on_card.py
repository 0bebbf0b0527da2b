"""What is done to a batch on a graphics card is what is done to it on a processor."""

import numpy as np
import pytest
import torch

from napari_ctc.errors import SpecimenError
from napari_ctc.learn import batches
from napari_ctc.learn.augment import draw_changes, noise_table
from napari_ctc.learn.batches import Pool
from napari_ctc.learn.canvas import Canvas, Form
from napari_ctc.learn.on_card import input_of, parcel

DEVICES = [torch.device("cpu"), *([torch.device("cuda")] if torch.cuda.is_available() else [])]
CPU = torch.device("cpu")
ROWS = np.array([5, 2, 2, 7, 0, 1])
TRUTH = np.array([0, 1, 2, 0, 1, 2, 0, 1])


def pool_of(images, size, lost=()):
    def read(place):
        if place in lost:
            raise SpecimenError("gone")
        return images[place]

    native = images.shape[1]
    form = Form.of(native, size, images.dtype)
    return Pool([lambda place=place: read(place) for place in range(len(images))], form, images.shape[3])


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize("size", [32, 24, 40])
@pytest.mark.parametrize(("channels", "dtype"), [(4, "u1"), (4, "u2"), (3, "u1"), (1, "i2"), (2, "f4"), (2, "f8")])
def test_it_is_the_input_that_a_processor_makes(device, size, channels, dtype):
    random = np.random.default_rng(3)
    images = random.integers(0, 120, (8, 32, 32, channels)).astype(dtype)
    pool = pool_of(images, size)
    for place in range(8):
        pool.read(place)
    canvas = pool.form.canvas(Canvas(32, size, (50.0,) * channels, (30.0,) * channels))
    changes = draw_changes(random, len(ROWS), pool.form.side, channels, dropout=0.5)
    expected = canvas.to_input(pool.batch(ROWS, changes).pixels, CPU, changes)
    batch, packed = parcel(pool, canvas, ROWS, changes, TRUTH)
    assert (batch.rows == ROWS).all()
    noise = noise_table(size, channels, device)
    pixels, truth = input_of(canvas, packed.sent(device), torch.float32, noise)
    assert pixels.stride() == expected.stride()
    torch.testing.assert_close(pixels.cpu(), expected, rtol=1e-5, atol=1e-5)
    assert truth.tolist() == TRUTH[ROWS].tolist()
    low, _ = input_of(canvas, packed.sent(device), torch.bfloat16, noise)
    torch.testing.assert_close(low.cpu(), expected.to(torch.bfloat16), rtol=1e-2, atol=1e-2)


def test_specimens_that_are_read_again_each_time_and_may_be_gone_are_left_out(monkeypatch):
    monkeypatch.setattr(batches, "memory_for_specimens", lambda: 0)
    random = np.random.default_rng(4)
    images = random.integers(0, 250, (8, 32, 32, 2)).astype(np.uint8)
    pool, canvas = pool_of(images, 32, lost={2}), Canvas(32, 32, (50.0, 60.0), (30.0, 20.0))
    changes = draw_changes(random, len(ROWS), 32, 2)
    usual = pool.batch(ROWS, changes)
    batch, packed = parcel(pool, canvas, ROWS, changes, TRUTH)
    assert batch.rows.tolist() == usual.rows.tolist() == [5, 7, 0, 1]
    assert batch.problems == usual.problems == ((2, "gone"), (2, "gone"))
    pixels, truth = input_of(canvas, packed, torch.float32, noise_table(32, 2, CPU))
    torch.testing.assert_close(pixels, canvas.to_input(usual.pixels, CPU, usual.changes))
    assert truth.tolist() == TRUTH[batch.rows].tolist()
