"""What the tests of learning share."""

import pytest
from spots import write_spots

from napari_ctc.data.manifest import Manifest
from napari_ctc.settings import TrainSettings


@pytest.fixture
def spots(tmp_path) -> Manifest:
    return write_spots(tmp_path)


@pytest.fixture
def quick() -> TrainSettings:
    return TrainSettings(epochs=2, precision="float32", device="cpu", threads=1)
