"""What a trained network sees in specimens: its own features, for the head and the queue to go by.

They are what the network's last layer is given. Once there is a classifier they take the place of the fixed
measurements.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_ctc.data.files import facts_if_there
from napari_ctc.data.manifest import Manifest
from napari_ctc.errors import ClassifierError, SpecimenError, Stopped
from napari_ctc.events import Job, Measured, Skipped

if TYPE_CHECKING:
    from napari_ctc.learn.classifier import Classifier

Floats = NDArray[np.float32]

AT_ONCE = 16  # specimens; a batch is a fraction of a second on two cores


def embed(manifest: Manifest, classifier: Classifier, known: Floats | None = None) -> Job[Floats]:
    """Compute the network's features of specimens, in their order.

    Parameters
    ----------
    manifest : Manifest
    classifier : Classifier
    known : (N, F) float32, optional
        What an earlier, stopped job returned: only rows of NaN are computed.

    Yields
    ------
    Event
        `Measured` for each batch, `Skipped` for each specimen that cannot be read.

    Returns
    -------
    (N, F) float32
        128 features a specimen for the network `compact`: 32 each of centre, middle and rim, and the largest of
        each. A row of NaN for each that could not be read, or was not reached before a person stopped the job.

    Raises
    ------
    ClassifierError
        If the classifier was trained on another number of channels.
    """
    import torch
    from torch import nn

    if manifest.layout.channels != classifier.channel_count:
        raise ClassifierError(
            f"The classifier was trained on specimens of {classifier.channel_count} channels, and these have "
            f"{manifest.layout.channels}. Open the specimens it was made for, or train another one."
        )
    *layers, last = classifier.network_module.children()  # every network ends in the layer that scores
    assert isinstance(last, nn.Linear)
    trunk = nn.Sequential(*layers)
    values = np.full((len(manifest), last.in_features), np.nan, np.float32)
    if known is not None:
        values[:] = known
    rows = np.flatnonzero(np.isnan(values).any(axis=1))
    done, total = len(values) - len(rows), len(values)
    with suppress(Stopped):
        for some in np.array_split(rows, -(-len(rows) // AT_ONCE) or 1):
            every = tuple(some.tolist())
            specimens, readable, reasons, files = [], [], {}, []
            for row in every:
                files.append(facts_if_there(manifest.locate(row)[0]))
                try:
                    specimens.append(manifest.specimen(row))
                    readable.append(row)
                except (SpecimenError, OSError) as problem:
                    reasons[row] = str(problem)
                    path = str(manifest.table["path"].iat[row])
                    yield Skipped(path=path, reason=reasons[row], done=done, total=total)
            if specimens:
                pixels = classifier.canvas.batch(specimens)
                with torch.inference_mode():
                    values[readable] = trunk(classifier.canvas.to_input(pixels, torch.device("cpu"))).numpy()
            done += len(some)
            why = tuple(reasons.get(row, "") for row in every)
            yield Measured(
                rows=every, values=values[some], reasons=why, files=tuple(files), done=done, total=total
            )
    return values
