"""What the tests share: settings of their own, drawn specimens, and no windows where there is no screen."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

# Before napari is imported: the tests neither read nor change the settings of the person who runs them.
_SETTINGS = tempfile.TemporaryDirectory(prefix="napari-ctc-tests-", ignore_cleanup_errors=True)
os.environ["NAPARI_CONFIG"] = str(Path(_SETTINGS.name) / "settings.yaml")
os.environ["NAPARI_CTC_CACHE"] = str(Path(_SETTINGS.name) / "cache")

# Before torch is imported: tiny specimens gain nothing from threads, which wait for each other on a busy machine.
os.environ["OMP_NUM_THREADS"] = "1"

import pytest  # noqa: E402

from napari_ctc.data.drawn import CHANNELS, write_drawn  # noqa: E402
from napari_ctc.data.manifest import Manifest  # noqa: E402
from napari_ctc.events import run  # noqa: E402

WINDOWS = {"make_napari_viewer", "qtbot", "qapp"}
"""Fixtures that need a screen."""


def pytest_collection_modifyitems(items):
    """Skip what needs a window where there is none: on Linux, without a display and without Xvfb."""
    if not sys.platform.startswith("linux") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        return
    skip = pytest.mark.skip(reason="needs a screen: install Xvfb (scripts/system-packages) or set DISPLAY")
    for item in items:
        if WINDOWS & set(getattr(item, "fixturenames", ())):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def _drawn_once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "specimens"
    run(write_drawn(folder, 60, seed=1, size=64))
    return folder


@pytest.fixture(scope="session")
def drawn_folder(_drawn_once):
    """60 drawn specimens of 64 pixels with their manifest.csv. Not to be written to: see `own_folder`."""
    return _drawn_once


@pytest.fixture
def own_folder(drawn_folder, tmp_path):
    """A copy of the drawn folder, for a test that writes into it."""
    # Without the lock of a window of another test, which lets go of it in a thread of its own.
    return Path(shutil.copytree(drawn_folder, tmp_path / "specimens", ignore=shutil.ignore_patterns(".*")))


@pytest.fixture(scope="session")
def drawn_manifest(drawn_folder):
    """The manifest of the drawn folder: every specimen labelled, 8 slides as sources."""
    return Manifest.open(drawn_folder / "manifest.csv")


@pytest.fixture(scope="session")
def tiny_classifier(drawn_manifest):
    """A classifier that was really trained, for two epochs and without a file."""
    from napari_ctc.learn.training import train
    from napari_ctc.settings import TrainSettings

    settings = TrainSettings(epochs=2, size=64, batch_size=16, augment=False, device="cpu", precision="float32")
    return run(train(drawn_manifest, settings, channel_names=CHANNELS))


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """A Dask scheduler with two workers, each started again when it is killed."""
    from clusters import LocalCluster

    running = LocalCluster(tmp_path_factory.mktemp("cluster"))
    try:
        running.wait(2)
        yield running
    finally:
        running.end()


@pytest.fixture(autouse=True)
def _settings_of_their_own(request):
    """Start each test in a window from default preferences."""
    if not WINDOWS & set(request.fixturenames):
        yield
        return
    from napari import settings

    settings._clear_plugin_settings_cache()
    Path(_SETTINGS.name, "napari-ctc.yaml").unlink(missing_ok=True)
    yield
    settings._clear_plugin_settings_cache()


@pytest.fixture
def four_cores():
    """Let PyTorch compute in four threads for a while, whatever the machine has."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)
