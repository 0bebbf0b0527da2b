"""What the dock "Classify folder" has done in a thread, and the order in which its result is looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from napari_ctc.data.files import exists
from napari_ctc.data.manifest import COLUMNS, Manifest, labels_table
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
    path : Path
        What was classified.
    open_now : sequence of (SpecimenStack, callable)
        Each open stack, with what makes its manifest with the labels as they are now.
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
    path: Path
    layout: Layout
    open_now: Sequence[tuple[SpecimenStack, Callable[[], Manifest]]]
    channels: Sequence[str] | None
    table: pd.DataFrame = field(init=False)
    stack: SpecimenStack = field(init=False)
    replaced: list[SpecimenStack] = field(init=False)

    def read(self) -> SpecimenStack:
        """Put the result in order and open its specimens; a SpecimenError where none can be read."""
        order = worth_looking_at(self.predictions)
        self.table = self.predictions.table.iloc[order].reset_index(drop=True)
        open_now = [(stack, manifest()) for stack, manifest in self.open_now]
        held = set(absolute_keys(Manifest(self.table, self.predictions.root)))
        given_way = [(stack, one) for stack, one in open_now if held.issuperset(absolute_keys(one))]
        self.replaced = [stack for stack, _ in given_way]
        manifest = to_look_at(
            self.table, self.predictions.root, self.layout, self.path, [one for _, one in given_way]
        )
        self.stack = SpecimenStack(manifest, self.channels)
        return self.stack


def to_look_at(
    table: pd.DataFrame, root: Path, layout: Layout, path: Path, replaced: Sequence[Manifest]
) -> Manifest:
    """Make the manifest of classified specimens.

    Parameters
    ----------
    table : pandas.DataFrame
        Of predictions, in the order to look at.
    path : Path
        What was classified.
    replaced : sequence of Manifest
        Of open specimens that it takes the place of, with their labels as they are now. These count, and stay in
        the table that they are in, so that opening a result neither brings labels back nor keeps them elsewhere.
    """
    blank = [""] * len(table)
    rows = {name: table[name] if name in table else blank for name in COLUMNS}
    manifest = Manifest(type(table)(rows, dtype="str"), root, layout)
    filled, keys = manifest.table.copy(), absolute_keys(manifest)
    owned = [absolute_keys(one) for one in replaced]
    open_keys = {key for own in owned for key in own}
    filled["label"] = ["" if key in open_keys else label for key, label in zip(keys, filled["label"], strict=True)]
    for one, own in zip(replaced, owned, strict=True):
        for name in COLUMNS[1:]:
            known = dict(zip(own, one.table[name], strict=True))
            filled[name] = [new or known.get(key, "") for key, new in zip(keys, filled[name], strict=True)]
    # A few files, opened by hand, do not say where the labels of all the others belong.
    decisive = [one for one in replaced if one.file or len(one) == len(table)]
    file = max(decisive, key=len).labels_file if decisive else labels_table(path)
    return Manifest(filled.astype("str"), root, layout, file=file)
