"""The network at work: prepared once, then from the pixels of a batch to raw scores."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from napari_ctc.data.bulk import Bulk
from napari_ctc.data.formats import Array
from napari_ctc.data.room import Room
from napari_ctc.learn.classifier import Classifier
from napari_ctc.learn.devices import choose_device
from napari_ctc.learn.ways import Way, folded, folded_scores
from napari_ctc.settings import Device

PIXELS_AT_ONCE = 2**21  # of a batch on the network's canvas
PIXELS_IN_CHUNK = 2**24
SEED_AT_ONCE = 4  # the original script's network takes 300 MB an image


def batch_size(classifier: Classifier) -> int:
    """Choose how many specimens go through the network together: enough of them to keep it busy."""
    if classifier.settings.network == "seed":
        return SEED_AT_ONCE
    return max(16, min(256, PIXELS_AT_ONCE // classifier.size**2))


def chunk_size(classifier: Classifier, batch: int) -> int:
    """Choose how many specimens are kept together: some seconds of work, in whole batches."""
    most = 64 if classifier.settings.network == "seed" else min(8192, PIXELS_IN_CHUNK // classifier.size**2)
    return max(most // batch, 1) * batch


@dataclass
class Forward:
    """A classifier's network with its norms folded, on its device and in its way of computing.

    Parameters
    ----------
    classifier : Classifier
    device : torch.device
    way : Way
    """

    classifier: Classifier
    device: torch.device
    way: Way
    network: torch.nn.Module = field(repr=False)

    @classmethod
    def of(cls, classifier: Classifier, way: Way, device: Device | str = "auto") -> Forward:
        """Prepare the network."""
        target = choose_device(device)
        return cls(classifier, target, way, folded(classifier.network_module, way, target))

    @torch.inference_mode()
    def __call__(self, bulk: Bulk, room: Room | None = None) -> NDArray[np.float32]:
        """Give the raw scores of those that could be read; (n, K). A room is for the network's input."""
        if not len(bulk.readable):
            return np.empty((0, len(self.classifier.classes)), np.float32)
        pixels = self.on_canvas(bulk.images)
        ready = self.classifier.canvas.to_input(pixels, self.device, dtype=self.way.dtype, room=room)
        return folded_scores(self.network, ready, self.way).cpu().numpy()

    def on_canvas(self, images: Array | list[Array]) -> Array:
        """Crop or pad specimens to the canvas; (n, native, native, C)."""
        side = self.classifier.canvas.native
        if isinstance(images, np.ndarray) and min(images.shape[1:3]) >= side:  # alike, and nothing to pad
            top, left = (images.shape[1] - side) // 2, (images.shape[2] - side) // 2
            return images[:, top : top + side, left : left + side]
        return self.classifier.canvas.batch(list(images))
