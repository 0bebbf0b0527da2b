"""The button "Preview augmented" in a real window, by clicks."""

import shutil

import numpy as np
import pytest

pytest.importorskip("napari")
from train_driver import TrainDriver

from napari_ctc.data.drawn import CHANNELS
from napari_ctc.data.manifest import Manifest
from napari_ctc.gui.layers import add_stack


@pytest.fixture(autouse=True)
def strict(monkeypatch):
    monkeypatch.setenv("NAPARI_STRICT_QT", "1")


def look(layer):
    return (layer.colormap.name, tuple(layer.contrast_limits), layer.visible, layer.blending, tuple(layer.scale))


def augmented(driver):
    return [layer for layer in driver.viewer.layers if layer.name.startswith("augmented: ")]


def click_preview(driver):
    driver.click("preview")
    driver.until(lambda: driver.part("preview").isEnabled())


@pytest.fixture
def ready(driver):
    driver.set(augment=True, size=0)
    driver.viewer.dims.set_current_step(0, 7)
    return driver


def test_variants_stand_beside_the_specimen_and_its_layers_stay(ready, manifest):
    own = list(ready.viewer.layers)
    before, active = [look(layer) for layer in own], ready.viewer.layers.selection.active
    click_preview(ready)
    assert [layer.name for layer in augmented(ready)] == [f"augmented: {layer.name}" for layer in own]
    assert list(ready.viewer.layers)[: len(own)] == own
    assert [look(layer) for layer in own] == before
    assert ready.viewer.layers.selection.active is active
    assert ready.session.current == 7
    for layer, variants in zip(own, augmented(ready), strict=True):
        assert look(variants)[:3] == look(layer)[:3]
        assert variants.data.shape == (8, 1, 32, 32)
        left = variants.data_to_world((0, 0, 0, 0))
        assert left[1] == 7 and left[3] > 32  # at this specimen alone, and to the right of it
        channel = CHANNELS.index(layer.name)
        np.testing.assert_allclose(variants.data[0, 0], manifest.specimen(7)[..., channel], rtol=1e-3, atol=1)
    drawn_first = next(layer for layer in augmented(ready) if layer.visible)
    assert drawn_first.blending == "opaque"  # else a light canvas shines through
    assert ready.viewer.dims.axis_labels[0] == "variant"
    assert "8 variants, the first unchanged" in ready.message


def test_the_next_preview_replaces_the_last(ready):
    click_preview(ready)
    first = augmented(ready)
    ready.session.go_to(11)
    click_preview(ready)
    second = augmented(ready)
    assert len(second) == len(first) == 4 and not set(map(id, first)) & set(map(id, second))
    assert second[0].data_to_world((0, 0, 0, 0))[1] == 11
    assert ready.session.current == 11


def test_variants_go_when_another_set_takes_the_canvas(ready, drawn, tmp_path):
    click_preview(ready)
    ready.session.go_to(11)
    ready.session.go_to(7)
    ready.qtbot.wait(50)
    assert len(augmented(ready)) == 4  # in its own set, each specimen has the slider's place for itself
    other = shutil.copytree(drawn, tmp_path / "other")
    add_stack(ready.viewer, Manifest.open(other / "manifest.csv"), CHANNELS)
    ready.until(lambda: not augmented(ready))
    assert ready.session.current >= 40 and len(ready.viewer.layers) == 8 and not ready.message
    ready.session.go_to(47)
    click_preview(ready)
    assert len(augmented(ready)) == 4
    ready.session.go_to(7)
    ready.until(lambda: not augmented(ready))
    assert ready.session.current == 7 and ready.viewer.dims.ndim == 3
    click_preview(ready)
    ready.viewer.layers.clear()
    ready.qtbot.wait(50)
    assert not augmented(ready)


def test_the_open_specimens_are_still_those_that_are_trained_on(ready):
    click_preview(ready)
    assert len(ready.session) == 40
    ready.set(epochs=1)
    ready.click("train")
    ready.until_idle()
    assert ready.message.startswith("Finished")


def test_a_single_specimen_is_previewed_too(make_napari_viewer, qtbot, drawn, tmp_path):
    viewer = make_napari_viewer()
    path = next(drawn.rglob("*.npy"))
    add_stack(viewer, Manifest.open(path), CHANNELS)
    driver = TrainDriver(viewer, qtbot, tmp_path / "c.safetensors")
    driver.set(augment=True)
    click_preview(driver)
    assert augmented(driver)[0].data.ndim == 3 and len(augmented(driver)[0].data) == 8


def test_what_cannot_be_previewed_is_said_in_a_sentence(ready, monkeypatch):
    stack, _ = ready.session.locate(7)
    lost = Manifest(stack.manifest.table.assign(path="gone.npy"), stack.manifest.root, stack.manifest.layout)
    monkeypatch.setattr(stack, "manifest", lost)
    click_preview(ready)
    assert "gone.npy" in ready.message and not augmented(ready)
    ready.viewer.layers.clear()
    ready.click("preview")
    assert ready.message.startswith("No specimen is on the canvas")


def test_without_augmentation_there_is_nothing_to_preview(ready):
    ready.set(augment=False)
    assert not ready.part("preview").isEnabled()
    ready.set(augment=True)
    assert ready.part("preview").isEnabled() and ready.part("preview").toolTip()
