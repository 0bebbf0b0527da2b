"""Interactive specimen classification: open, train, see predictions, classify folders, export labels.

The names below load on first use, so that `import napari_ctc` stays fast and loads no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_ctc.apply.crossval import cross_validate
    from napari_ctc.apply.evaluation import evaluate
    from napari_ctc.apply.inference import classify
    from napari_ctc.data.exports import export_class_folders, export_labels
    from napari_ctc.data.manifest import Manifest
    from napari_ctc.data.predictions import Predictions
    from napari_ctc.data.specimens import Layout
    from napari_ctc.data.splits import hold_out
    from napari_ctc.events import run
    from napari_ctc.learn.classifier import Classifier
    from napari_ctc.learn.loading import load_classifier
    from napari_ctc.learn.training import train
    from napari_ctc.settings import TrainSettings

__version__ = "0.1.0"
__all__ = [
    "Classifier",
    "Layout",
    "Manifest",
    "Predictions",
    "TrainSettings",
    "classify",
    "cross_validate",
    "evaluate",
    "export_class_folders",
    "export_labels",
    "hold_out",
    "load_classifier",
    "run",
    "train",
]

_HOMES = {
    "Classifier": "learn.classifier",
    "Layout": "data.specimens",
    "Manifest": "data.manifest",
    "Predictions": "data.predictions",
    "TrainSettings": "settings",
    "classify": "apply.inference",
    "cross_validate": "apply.crossval",
    "evaluate": "apply.evaluation",
    "export_class_folders": "data.exports",
    "export_labels": "data.exports",
    "hold_out": "data.splits",
    "load_classifier": "learn.loading",
    "run": "events",
    "train": "learn.training",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'napari_ctc' has no attribute {name!r}")
    return getattr(import_module(f"napari_ctc.{_HOMES[name]}"), name)
