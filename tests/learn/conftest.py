"""What the tests of learning share."""

import pytest
import torch
from spots import write_spots

from napari_ctc.data.manifest import Manifest
from napari_ctc.settings import TrainSettings


@pytest.fixture
def spots(tmp_path) -> Manifest:
    return write_spots(tmp_path)


@pytest.fixture
def quick() -> TrainSettings:
    return TrainSettings(epochs=2, precision="float32", device="cpu", threads=1)


@pytest.fixture
def two_cores():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)
