"""What a person is shown of augmentation is what a run would do, in the specimens' own units."""

import numpy as np
import pytest

from napari_ctc.errors import SpecimenError
from napari_ctc.events import run
from napari_ctc.learn.preview import VARIANTS, preview
from napari_ctc.settings import TrainSettings


def test_the_first_variant_is_the_specimen_and_the_others_differ(spots):
    specimen = spots.specimen(3).astype(float).transpose(2, 0, 1)  # (C, 24, 24)
    found = run(preview(spots, 3, TrainSettings()))
    assert found.images.shape == (VARIANTS, 4, 24, 24) and found.images.dtype == np.float32
    assert found.native == 24 and found.pixel == 1
    np.testing.assert_allclose(found.images[0], specimen, atol=1e-3)
    for variant in found.images[1:]:
        assert np.abs(variant - specimen).max() > 1
        assert np.abs(variant.mean(axis=(1, 2)) - specimen.mean(axis=(1, 2))).max() < 30  # units are kept


def test_a_channel_that_is_left_out_shows_its_mean(spots):
    settings = TrainSettings(channel_dropout=0.5)
    found = run(preview(spots, 0, settings, np.random.default_rng(0)))
    flat = np.ptp(found.images, axis=(2, 3)) < 1e-3  # (V, C)
    assert not flat[0].any()
    assert set(flat.sum(axis=1).tolist()) == {0, 1}


def test_the_preview_has_the_size_that_the_network_sees(spots):
    found = run(preview(spots, 0, TrainSettings(size=48)))
    assert found.images.shape[-1] == 48
    assert found.pixel == 0.5


def test_a_specimen_that_cannot_be_read_is_refused_and_others_are_left_out(spots):
    (spots.root / spots.keys[2]).write_bytes(b"")
    with pytest.raises(SpecimenError, match="is empty"):
        run(preview(spots, 2, TrainSettings()))
    assert len(run(preview(spots, 0, TrainSettings())).images) == VARIANTS
