"""What the dock "Classify folder" has done in a thread, and the order in which its result is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from napari_ctc.data.files import exists
from napari_ctc.data.manifest import COLUMNS, Manifest
from napari_ctc.data.stacks import SpecimenStack
from napari_ctc.events import Event
from napari_ctc.gui.session_parts import absolute_keys

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from napari_ctc.data.predictions import Predictions
    from napari_ctc.data.specimens import Layout
    from napari_ctc.events import Job
    from napari_ctc.learn.classifier import Classifier


def classify_path(
    path: Path, layout: Layout, classifier: Classifier, out: Path | None, on: str = "here"
) -> Job[Predictions]:
    """Classify whatever a path names in a place (see `Place.parse`), and write the table to `out` where given.

    What another classifier left there is replaced: the form has asked. What this one left is gone on with.
    """
    yield Event()
    from napari_ctc.apply.inference import classify

    anew = out is not None and exists(out)
    predictions = yield from classify(Manifest.open(path, layout), classifier, out, replace=anew, on=on)
    _ = predictions.table  # read here, in the thread, what stayed in the file
    return predictions


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


@dataclass
class Result:
    """A result on its way into the viewer: `read` in a thread makes what is shown then.

    Attributes
    ----------
    channels : sequence of str or None
        Their names.
    table : pandas.DataFrame
        Of the predictions, in the order to look at.
    stack : SpecimenStack
        The specimens, in that order.
    replaced : list of SpecimenStack
        Open ones that this one takes the place of.
    """

    predictions: Predictions
    layout: Layout
    open_now: Sequence[SpecimenStack]
    channels: Sequence[str] | None
    table: pd.DataFrame = field(init=False)
    stack: SpecimenStack = field(init=False)
    replaced: list[SpecimenStack] = field(init=False)

    def read(self) -> SpecimenStack:
        """Put the result in order and open its specimens; a SpecimenError where none can be read."""
        order = worth_looking_at(self.predictions)
        self.table = self.predictions.table.iloc[order].reset_index(drop=True)
        manifest, self.replaced = to_look_at(self.table, self.predictions.root, self.layout, self.open_now)
        self.stack = SpecimenStack(manifest, self.channels)
        return self.stack


def to_look_at(
    table: pd.DataFrame, root: Path, layout: Layout, stacks: Sequence[SpecimenStack]
) -> tuple[Manifest, list[SpecimenStack]]:
    """Make the manifest of classified specimens, and say which open stacks it takes the place of.

    Parameters
    ----------
    table : pandas.DataFrame
        Of predictions, in the order to look at.
    stacks : sequence of SpecimenStack
        The open ones. Those that hold no other specimens give way; what they tell of a specimen and the table
        does not (its label, say) is taken over.
    """
    blank = [""] * len(table)
    rows = {name: table[name] if name in table else blank for name in COLUMNS}
    manifest = Manifest(type(table)(rows, dtype="str"), root, layout)
    keys = absolute_keys(manifest)
    held, replaced = set(keys), []
    filled = manifest.table.copy()
    for stack in stacks:
        own = absolute_keys(stack.manifest)
        if held.issuperset(own):
            replaced.append(stack)
            for name in COLUMNS[1:]:
                known = dict(zip(own, stack.manifest.table[name], strict=True))
                before = [known.get(key, "") for key in keys]
                filled[name] = [new or old for new, old in zip(filled[name], before, strict=True)]
    return Manifest(filled.astype("str"), root, layout), replaced
