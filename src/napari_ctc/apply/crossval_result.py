"""What a cross-validation found: scores over all folds, each fold's own, and a prediction for every specimen."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_ctc.data.calls import Calls
from napari_ctc.data.files import write_whole
from napari_ctc.data.predictions import Predictions, columns, typed
from napari_ctc.score.metrics import Scores, score

if TYPE_CHECKING:
    from napari_ctc.data.manifest import Manifest
    from napari_ctc.data.splits import Rows


@dataclass(frozen=True)
class FoldResult:
    """One fold: what its classifier said of specimens that it never saw.

    Parameters
    ----------
    held : (n,) integers
        Their rows among the labelled specimens.
    predictions : Predictions
    scores : Scores
    classifier : str
        The digest of the fold's classifier.
    """

    held: Rows
    predictions: Predictions
    scores: Scores
    classifier: str


@dataclass(frozen=True)
class CrossValidation:
    """What `cross_validate` found.

    Parameters
    ----------
    scores : Scores
        Over all specimens that were held out and could be read, each judged by the classifier that never saw it.
    folds : tuple of Scores
        Of each fold that ended.
    predictions : Predictions
        A row for each of these specimens, in the manifest's order; `classifier` is that of its fold.
    planned : int
        How many folds there were to be.
    notes : tuple of str
        What could not be had, in sentences.
    stopped : bool
        Whether a person stopped it before the last fold.
    failures : tuple of str
        Why the training of a fold failed, whose specimens then have no row; and why the table was not written.
    calls : Calls or None
        The specimens behind the counts of `scores`.
    """

    scores: Scores
    folds: tuple[Scores, ...]
    predictions: Predictions
    planned: int
    notes: tuple[str, ...] = ()
    stopped: bool = False
    failures: tuple[str, ...] = ()
    calls: Calls | None = None

    @property
    def spread(self) -> tuple[float, float]:
        """The least and the largest balanced accuracy of a fold; NaN where no fold has a score."""
        each = [one.balanced_accuracy for one in self.folds if not np.isnan(one.balanced_accuracy)]
        return (min(each), max(each)) if each else (float("nan"), float("nan"))

    def sentences(self) -> list[str]:
        """Say what was found: a line a class, the balanced figures, accuracy, and the folds."""
        least, most = self.spread
        each = ", ".join(f"{one.balanced_accuracy:.3f}" for one in self.folds)
        ended = f"{len(self.folds)} of {self.planned}" if len(self.folds) < self.planned else f"{len(self.folds)}"
        return [
            *self.scores.sentences(),
            f"Balanced accuracy of the {ended} folds: {each} (from {least:.3f} to {most:.3f}).",
        ]

    def as_dict(self) -> dict[str, Any]:
        """Give all figures under the names that `napari-ctc cross-validate --json` writes."""
        return {
            **self.scores.as_dict(),
            "folds": [one.as_dict() for one in self.folds],
            "folds_planned": self.planned,
            "stopped": self.stopped,
            "unreadable": self.predictions.failed,
            "classifiers": list(dict.fromkeys(self.predictions.table["classifier"])),
            "notes": list(self.notes),
            "failures": list(self.failures),
        }

    def write(self, path: str | Path) -> None:
        """Write all figures as JSON, the whole file or none."""
        write_whole(Path(path), (json.dumps(self.as_dict(), indent=2, allow_nan=False) + "\n").encode())


def scored(table: pd.DataFrame, classes: Sequence[str]) -> Scores:
    """Compare a table of predictions with what a person said in it."""
    judged = table[_judged(table)]
    places = {name: place for place, name in enumerate(classes)}
    truth, predicted = (judged[name].map(places).to_numpy(np.int64) for name in ("label", "predicted"))
    return score(truth, predicted, classes)


def _judged(table: pd.DataFrame) -> NDArray[np.bool_]:
    return ((table["error"] == "") & (table["label"] != "")).to_numpy(bool)


def assembled(
    ended: Sequence[FoldResult],
    manifest: Manifest,
    digests: Sequence[str],
    planned: int,
    notes: Sequence[str],
    stopped: bool,
) -> CrossValidation:
    """Put the folds that ended together, rows in the order of the manifest; a digest for each of its specimens."""
    classes = manifest.classes
    tables = []
    for one in ended:
        table = one.predictions.table
        # A class that a fold had none to learn from is one that its classifier never calls.
        unknown = [f"p_{name}" for name in classes if name not in one.predictions.classes]
        zero = np.where(table["error"] == "", 0.0, np.nan)
        tables.append(table.assign(**dict.fromkeys(unknown, zero)))
    held = np.concatenate([one.held for one in ended])
    order = np.argsort(held)
    table = typed(pd.concat(tables, ignore_index=True)[columns(classes)].iloc[order], classes)
    predictions = Predictions(table, manifest.root, classes, stopped)
    scores = tuple(one.scores for one in ended)
    judged = np.flatnonzero(_judged(table))
    rows = held[order][judged]
    called = tuple(table["predicted"].iloc[judged])
    calls = Calls(manifest.rows(rows), called, tuple(digests[row] for row in rows.tolist()))
    return CrossValidation(
        scored(table, classes), scores, predictions, planned, tuple(notes), stopped, calls=calls
    )
