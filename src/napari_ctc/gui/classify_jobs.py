"""What the dock "Classify folder" has done in a thread, and the order in which its result is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_ctc.data.manifest import Manifest
from napari_ctc.events import Event

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_ctc.data.predictions import Predictions
    from napari_ctc.data.specimens import Layout
    from napari_ctc.events import Job
    from napari_ctc.learn.classifier import Classifier


def load(path: Path) -> Job[Classifier]:
    """Load a classifier in the worker's thread: torch is imported there."""
    yield Event()
    from napari_ctc.learn.classifier import load_classifier

    return load_classifier(path)


def classify_path(path: Path, layout: Layout, classifier: Classifier, out: Path | None) -> Job[Predictions]:
    """Classify whatever a path names, and write the table to `out` where it is given."""
    yield Event()
    from napari_ctc.apply.inference import classify

    return (yield from classify(Manifest.open(path, layout), classifier, out))


def worth_looking_at(predictions: Predictions) -> NDArray[np.intp]:
    """Order specimens for looking at: the rarest predicted class first, then the least certain; unreadable last.

    Returns
    -------
    (n,) integers
        Rows of the table. Certainty is the margin between the two most probable classes.
    """
    places = {name: place for place, name in enumerate(predictions.classes)}
    codes = np.array([places.get(name, len(places)) for name in predictions.table["predicted"]], np.intp)
    counts = np.bincount(codes, minlength=len(places) + 1)
    counts[-1] = len(codes) + 1  # unreadable
    ranked = np.sort(predictions.probabilities, axis=1)
    margin = ranked[:, -1] - (ranked[:, -2] if ranked.shape[1] > 1 else 0)
    return np.lexsort((margin, codes, counts[codes]))
