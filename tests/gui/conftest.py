"""What the tests of windows share."""

import gc

import pytest

from napari_ctc.data.drawn import CHANNELS, write_drawn
from napari_ctc.data.manifest import Manifest
from napari_ctc.events import run
from napari_ctc.settings import TrainSettings


@pytest.fixture(scope="module", autouse=True)
def _old_objects_left_alone():
    """Keep the garbage collector to what the tests make.

    napari collects in full for each layer that it removes and each viewer that it closes, and looks through a
    million objects of torch and the like each time: half a second that no test is about.
    """
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A folder of 40 drawn specimens of 32 pixels with its manifest.csv."""
    folder = tmp_path_factory.mktemp("train") / "specimens"
    run(write_drawn(folder, 40, seed=2, size=32, shares=(0.5, 0.3, 0.2)))
    return folder


@pytest.fixture
def manifest(drawn):
    return Manifest.open(drawn / "manifest.csv")


@pytest.fixture
def small_classifier(manifest, tmp_path):
    """A classifier file from one epoch."""
    from napari_ctc.learn.training import train

    path = tmp_path / "small.safetensors"
    settings = TrainSettings(epochs=1, size=24, augment=False, device="cpu", precision="float32", seed=5)
    run(train(manifest, settings, path, channel_names=CHANNELS))
    return path


@pytest.fixture
def driver(make_napari_viewer, qtbot, manifest, tmp_path):
    from train_driver import TrainDriver

    from napari_ctc.gui.layers import add_stack

    viewer = make_napari_viewer()
    add_stack(viewer, manifest, CHANNELS)
    return TrainDriver(viewer, qtbot, tmp_path / "trained.safetensors")


@pytest.fixture
def folder(own_folder):
    """60 drawn specimens that nobody has labelled."""
    (own_folder / "manifest.csv").unlink()
    return own_folder
