"""What the tests of learning share."""

import pytest
import torch
from spots import write_spots

from napari_ctc.data.manifest import Manifest
from napari_ctc.settings import TrainSettings


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Tiny specimens gain nothing from threads, which wait for each other on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def spots(tmp_path) -> Manifest:
    return write_spots(tmp_path)


@pytest.fixture
def quick() -> TrainSettings:
    return TrainSettings(epochs=2, precision="float32", device="cpu")
