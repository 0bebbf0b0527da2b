"""Specimens reach the network at one scale, from any dtype, and augmentation changes no pixel's value."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_ctc.learn import batches
from napari_ctc.learn.augment import Changes, draw_changes, moved
from napari_ctc.learn.batches import Moments, Pool, ahead
from napari_ctc.learn.canvas import Canvas, Form, fit

CPU = torch.device("cpu")


def still(n=1, channels=4, **other) -> Changes:
    values = {
        "turn": np.zeros(n, bool),
        "flip": np.zeros((n, 2), bool),
        "shift": np.zeros((n, 2), int),
        "gain": np.ones((n, channels)),
        "offset": np.zeros((n, channels)),
        "noise": np.zeros((n, channels)),
        "window": 0,
    }
    return Changes(**(values | other))


def test_a_small_specimen_is_centred_on_the_median_of_its_border():
    specimen = np.full((4, 6, 2), (10, 200), dtype=np.uint16)
    specimen[1:3, 1:5] = 77
    square = fit(specimen, 8)
    assert square.dtype == np.uint16
    assert (square[2:6, 1:7] == specimen).all()
    assert (square[0] == (10, 200)).all() and (square[:, -1] == (10, 200)).all()


def test_a_large_specimen_is_cropped_about_its_centre_without_resizing():
    specimen = np.arange(10 * 12 * 1).reshape(10, 12, 1)
    assert (fit(specimen, 6) == specimen[2:8, 3:9]).all()


@pytest.mark.parametrize("dtype", "u1 u2 u4 u8 i1 i2 i4 i8 f2 f4 f8".split())
def test_every_dtype_is_scaled_alike(dtype):
    values = np.random.default_rng(0).integers(0, 100, (2, 24, 24, 3)).astype(dtype)
    canvas = Canvas(24, 24, (40.0, 50.0, 60.0), (20.0, 30.0, 5.0))
    result = canvas.to_input(values, CPU)
    expected = ((values.astype(float) - canvas.mean) / canvas.sd).transpose(0, 3, 1, 2)
    assert result.dtype == torch.float32
    np.testing.assert_allclose(result.numpy(), expected, atol=2e-5)
    assert result.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("size", [24, 16])
def test_what_a_network_takes_is_float32_rounded_last(size):
    values = np.random.default_rng(0).integers(0, 256, (300, 24, 24, 3)).astype("u1")  # more than fit the cache
    canvas = Canvas(24, size, (40.0, 50.0, 60.0), (20.0, 30.0, 5.0))
    low = canvas.to_input(values, CPU, dtype=torch.bfloat16)
    assert torch.equal(low, canvas.to_input(values, CPU).to(torch.bfloat16))
    assert low.is_contiguous(memory_format=torch.channels_last)


def test_small_contrast_on_a_large_offset_survives():
    values = (1e9 + np.random.default_rng(0).normal(0, 1, (1, 24, 24, 1))).astype(np.float64)
    result = Canvas(24, 24, (1e9,), (1.0,)).to_input(values, CPU)
    np.testing.assert_allclose(result.numpy()[0, 0], values[0, ..., 0] - 1e9, atol=1e-5)


def test_one_scale_factor_for_the_whole_set():
    canvas = Canvas(native=48, size=24, mean=(0.0,), sd=(1.0,))
    small, large = np.zeros((16, 16, 1), np.uint8), np.zeros((48, 48, 1), np.uint8)
    small[4:12, 4:12] = large[20:28, 20:28] = 200
    result = canvas.to_input(canvas.batch([small, large]), CPU)
    assert result.shape == (2, 1, 24, 24)
    assert torch.equal(result[0], result[1])


@pytest.mark.parametrize(("channels", "dtype"), [(4, "u1"), (4, "u2"), (3, "u1"), (5, "f4"), (2, "f8")])
def test_turns_flips_and_shifts_are_exact(channels, dtype):
    random = np.random.default_rng(1)
    images = random.integers(0, 250, (16, 32, 32, channels)).astype(dtype)
    changes = draw_changes(random, 16, 32, channels)
    result = moved(images, changes)
    for image, out, turn, flip, shift in zip(
        images, result, changes.turn, changes.flip, changes.shift, strict=True
    ):
        expected = image.swapaxes(0, 1) if turn else image
        expected = expected[::-1] if flip[0] else expected
        expected = expected[:, ::-1] if flip[1] else expected
        rows, columns = (np.clip(np.arange(32) - by, 0, 31) for by in shift)
        assert (out == expected[rows][:, columns]).all()
    assert np.abs(changes.shift).max() == 2


def test_gain_and_offset_change_each_channel_after_scaling():
    values = np.full((1, 24, 24, 2), 30, np.uint8)
    canvas = Canvas(24, 24, (10.0, 20.0), (10.0, 10.0))
    changes = still(channels=2, gain=np.array([[1.1, 0.9]]), offset=np.array([[0.0, 0.05]]))
    result = canvas.to_input(values, CPU, changes)
    np.testing.assert_allclose(result[0, :, 0, 0].numpy(), [2.2, 0.95], rtol=1e-5)


def test_noise_has_the_spread_that_was_drawn_for_each_specimen_and_channel():
    values = np.full((2, 64, 64, 3), 30, np.uint16)
    canvas = Canvas(64, 64, (10.0, 20.0, 30.0), (10.0, 10.0, 5.0))
    noise = np.array([[0.1, 0.0, 0.02], [0.05, 0.1, 0.0]])
    quiet = canvas.to_input(values, CPU, still(2, 3))
    noisy = canvas.to_input(values, CPU, still(2, 3, noise=noise, window=60_003))
    added = (noisy - quiet).numpy()
    np.testing.assert_allclose(added.std(axis=(2, 3)), noise, rtol=0.05)
    assert (np.abs(added.mean(axis=(2, 3))) <= noise / 10).all()
    assert abs(np.corrcoef(added[0, 0].ravel(), added[1, 0].ravel())[0, 1]) < 0.1
    assert abs(np.corrcoef(added[0, 0].ravel(), added[0, 2].ravel())[0, 1]) < 0.1
    assert noisy.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("native", "dtype"), [(24, "u1"), (32, "u1"), (24, "f8"), (32, "f8")])
def test_noise_is_added_before_the_rounding_to_a_number_format(native, dtype):
    values = np.random.default_rng(0).integers(0, 99, (5, native, native, 4)).astype(dtype)
    canvas = Canvas(native, 24, (40.0,) * 4, (20.0,) * 4)
    changes = draw_changes(np.random.default_rng(1), 5, 24, 4)
    full = canvas.to_input(values, CPU, changes)
    assert not torch.equal(full, canvas.to_input(values, CPU, replace(changes, noise=0 * changes.noise)))
    assert torch.equal(canvas.to_input(values, CPU, changes, torch.bfloat16), full.to(torch.bfloat16))


def test_what_is_drawn_is_bounded_and_follows_from_the_seed():
    first, again = (draw_changes(np.random.default_rng([4, 2]), 500, 64, 4, 0.3) for _ in range(2))
    for part in ("turn", "flip", "shift", "gain", "offset", "noise", "window"):
        assert np.array_equal(getattr(first, part), getattr(again, part))
    assert first.noise.min() == 0 and 0.09 < first.noise.max() <= 0.1
    assert len(np.unique(first.noise[first.noise > 0])) > 1000  # each specimen and channel has its own
    values = np.random.default_rng(0).integers(0, 99, (500, 24, 24, 4)).astype(np.uint8)
    canvas = Canvas(24, 24, (40.0,) * 4, (20.0,) * 4)
    assert torch.equal(canvas.to_input(values, CPU, first), canvas.to_input(values, CPU, again))


@pytest.mark.parametrize("dtype", ["u1", "f8"])
def test_channel_dropout_leaves_out_one_channel_and_never_all(dtype):
    changes = draw_changes(np.random.default_rng(0), 400, 24, 2, dropout=0.3)
    values = np.random.default_rng(1).integers(0, 99, (400, 24, 24, 2)).astype(dtype)
    pixels = Canvas(24, 24, (40.0, 50.0), (20.0, 30.0)).to_input(values, CPU, changes)
    blank = (pixels == 0).all(dim=(2, 3)).numpy()  # at the channel's mean everywhere
    assert set(blank.sum(axis=1).tolist()) == {0, 1}
    assert 0.25 < blank.any(axis=1).mean() < 0.35
    assert blank.any(axis=0).all()  # any channel may be the one


def test_a_specimen_of_one_channel_keeps_it():
    changes = draw_changes(np.random.default_rng(0), 200, 24, 1, dropout=0.5)
    assert (changes.gain > 0).all()


def test_mean_and_spread_equal_those_of_all_pixels_at_once():
    random = np.random.default_rng(0)
    specimens = [random.normal(1e6, 3, (8 + n, 9, 2)) for n in range(5)]
    moments = Moments.of(specimens[0])
    for specimen in specimens[1:]:
        moments.add(Moments.of(specimen))
    pixels = np.concatenate([one.reshape(-1, 2) for one in specimens])
    np.testing.assert_allclose(moments.mean, pixels.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(moments.sd(), pixels.std(axis=0), rtol=1e-8)


def test_a_first_pixel_unlike_all_others_does_not_blur_the_spread():
    specimen = np.random.default_rng(0).normal(1, 1e-3, (30, 20, 2))
    specimen[0, 0] = 1e6
    moments = Moments.of(specimen)
    np.testing.assert_allclose(moments.mean, specimen.mean(axis=(0, 1)), rtol=1e-12)
    np.testing.assert_allclose(moments.sd(), specimen.std(axis=(0, 1)), rtol=1e-9)
    assert (Moments.of(np.full((30, 20, 2), 0.1)).sd() == 0).all()


@pytest.mark.parametrize("size", [24, 12])
def test_a_pool_too_large_for_memory_gives_the_same_batches(monkeypatch, size):
    specimens = list(np.random.default_rng(0).integers(0, 255, (6, 28, 24, 4)).astype(np.uint8))
    readers = [lambda n=n: specimens[n] for n in range(6)]
    kept = Pool(readers, Form.of(24, size, np.dtype("u1")), 4)
    for place in range(6):
        kept.read(place)
    monkeypatch.setattr(batches, "memory_for_specimens", lambda: 0)
    read_again = Pool(readers, Form.of(24, size, np.dtype("u1")), 4)
    assert kept.kept is not None and read_again.kept is None
    assert [kept.workers(torch.device(name)) for name in ("cpu", "cuda")] == [0, 1]
    assert read_again.workers(CPU) == 4
    rows = np.array([4, 1, 1, 5])
    changes = draw_changes(np.random.default_rng(0), 4, size, 4)
    for one in (None, changes):
        pixels = kept.batch(rows, one).pixels
        assert pixels.shape == (4, size, size, 4) and (pixels == read_again.batch(rows, one).pixels).all()


@pytest.mark.parametrize("dtype", "u1 i1 u2 u4 f4 f8".split())
def test_what_is_kept_at_the_networks_size_is_the_same_input(dtype):
    values = np.random.default_rng(0).integers(0, 100, (48, 48, 2)).astype(dtype)
    canvas = Canvas(48, 20, (40.0, 50.0), (20.0, 30.0))
    form = Form.of(48, 20, np.dtype(dtype))
    kept = form.kept(values)
    assert kept.shape == (20, 20, 2) and kept.nbytes <= values.nbytes / 2
    if np.dtype(dtype).kind in "iu":
        assert kept.dtype.kind == np.dtype(dtype).kind
    largest = {"u1": 1e-4, "i1": 1e-4, "f4": 1e-5, "f8": 1e-5}.get(dtype, 0.5 / 20)  # half a step of the file's
    np.testing.assert_allclose(
        form.canvas(canvas).to_input(kept[None], CPU), canvas.to_input(values[None], CPU), atol=1.01 * largest
    )


def test_specimens_smaller_than_the_network_are_kept_as_they_are():
    form = Form.of(24, 48, np.dtype("u1"))
    assert (form.side, form.dtype, form.steps) == (24, np.dtype("u1"), 1)
    assert form.canvas(Canvas(24, 48, (1.0,), (1.0,))) == Canvas(24, 48, (1.0,), (1.0,))


def test_reading_ahead_keeps_the_order_and_ends_its_threads():
    import threading
    from functools import partial

    before = threading.active_count()
    assert list(ahead((partial(int, str(n)) for n in range(50)), workers=3)) == list(range(50))
    unfinished = ahead((partial(int, str(n)) for n in range(50)), workers=3)
    next(unfinished)
    unfinished.close()
    assert threading.active_count() == before


def test_without_threads_each_is_made_when_it_is_asked_for():
    from threading import get_ident

    made = []
    results = ahead((lambda n=n: (made.append(n), get_ident())[1] for n in range(5)), workers=0)
    assert next(results) == next(results) == get_ident()
    assert made == [0, 1]
    assert len(list(results)) == 3
