"""Thumbnails: the colours that additive layers would show, side by side, and small."""

import numpy as np
import pytest

from napari_ctc.data.composites import GAP, composite, ramps, shrink, side_by_side

RED, GREEN, BLACK = (1, 0, 0), (0, 1, 0), (0, 0, 0)


def test_channels_add_up_in_their_colours():
    image = np.zeros((2, 1, 4), np.uint8)
    image[0, 0] = 0, 255, 0, 255
    image[1, 0] = 0, 0, 255, 255
    picture = composite(image, ramps([RED, GREEN]), [(0, 255)] * 2)
    assert picture.dtype == np.uint8
    assert picture[0].tolist() == [[0, 0, 0], [255, 0, 0], [0, 255, 0], [255, 255, 0]]


def test_what_is_lighter_than_all_light_is_white_and_does_not_turn_over():
    image = np.full((3, 2, 2), 255, np.uint8)
    assert (composite(image, ramps([(1, 1, 1)] * 3), [(0, 100)] * 3) == 255).all()


def test_limits_are_black_and_the_full_colour_and_halfway_is_half():
    image = np.array([[[5, 10, 15, 20, 25]]], np.uint16)
    assert composite(image, ramps([(1, 1, 1)]), [(10, 20)])[0, :, 0].tolist() == [0, 0, 128, 255, 255]


def test_a_colormap_of_any_colours_is_followed_level_by_level():
    table = np.zeros((1, 256, 3))
    table[0, 128:] = 1, 0.5, 0  # a threshold, which no even ramp is
    image = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    picture = composite(image, table, [(0, 255)]).reshape(256, 3)
    assert (picture[:128] == 0).all()
    assert (picture[128:] == (255, 128, 0)).all()


def test_a_black_channel_is_left_out():
    image = np.full((2, 2, 2), 200, np.uint8)
    assert (composite(image, ramps([BLACK, GREEN]), [(0, 255)] * 2) == (0, 200, 0)).all()


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint32", "int64", "float32", "float64"])
def test_values_of_every_type_show_alike(dtype):
    image = np.arange(100, dtype=dtype).reshape(1, 10, 10)
    expected = np.clip(np.arange(100) / 80 * 255 + 0.5, 0, 255).astype(np.uint8)
    assert (
        np.abs(composite(image, ramps([(1, 1, 1)]), [(0, 80)])[:, :, 0].ravel().astype(int) - expected) <= 1
    ).all()


def test_small_differences_of_large_numbers_are_seen():
    image = np.array([[[2**40, 2**40 + 1]]], np.int64)
    assert composite(image, ramps([(1, 1, 1)]), [(2**40, 2**40 + 1)])[0, :, 0].tolist() == [0, 255]


def test_a_channel_of_one_value_divides_by_nothing():
    assert (composite(np.full((1, 2, 2), 7, np.uint8), ramps([RED]), [(7, 7)]) == 0).all()


def test_channels_stand_side_by_side_in_their_order():
    image = np.stack([np.full((3, 4), 255), np.full((3, 4), 51)]).astype(np.uint8)
    picture = side_by_side(image, ramps([RED, GREEN]), [(0, 255)] * 2)
    assert picture.shape == (3, 2 * 4 + GAP, 3)
    assert (picture[:, :4] == (255, 0, 0)).all()
    assert (picture[:, 4 : 4 + GAP] == 0).all()
    assert (picture[:, 4 + GAP :] == (0, 51, 0)).all()


def test_a_large_specimen_is_averaged_in_blocks_and_a_small_one_is_left_alone():
    image = np.arange(2 * 6 * 8, dtype=np.uint8).reshape(2, 6, 8)
    assert shrink(image, 8) is image
    small = shrink(image, 4)
    np.testing.assert_allclose(small, image.reshape(2, 3, 2, 4, 2).mean((2, 4)))
    assert shrink(np.zeros((4, 1000, 333), np.uint16), 96).shape == (4, 90, 30)
    assert shrink(np.ones((1, 2, 500), np.uint8), 100).tolist() == np.ones((1, 1, 100)).tolist()
