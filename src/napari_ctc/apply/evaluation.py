"""How good a classifier is on labelled specimens, and whether it had seen them before."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ctc.apply.inference import classify
from napari_ctc.data.files import write_whole
from napari_ctc.data.hunted import rate_note
from napari_ctc.data.specimens import content_digest
from napari_ctc.errors import ManifestError, SpecimenError, Stopped
from napari_ctc.events import Event, Job, Said
from napari_ctc.score.metrics import Scores, score
from napari_ctc.score.worth import Worth, worth

if TYPE_CHECKING:
    from napari_ctc.data.manifest import Manifest
    from napari_ctc.data.predictions import Predictions
    from napari_ctc.learn.classifier import Classifier
    from napari_ctc.settings import Decision, Precision


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found.

    Parameters
    ----------
    scores : Scores
        Over the labelled specimens that could be read, of classes that the classifier knows.
    predictions : Predictions
    seen_in_training : int
        How many of the specimens the classifier was trained on, told by their pixels.
    classifier : str
        The classifier's digest.
    worth : Worth
        What the probabilities of those specimens were worth, class by class.
    """

    scores: Scores
    predictions: Predictions
    seen_in_training: int
    classifier: str
    worth: Worth

    def as_dict(self) -> dict[str, Any]:
        """Give all figures under the names that `napari-ctc evaluate --json` writes."""
        return {
            **self.scores.as_dict(),
            "reliability": self.worth.figures,
            "seen_in_training": self.seen_in_training,
            "unreadable": self.predictions.failed,
            "classifier": self.classifier,
        }

    def sentences(self) -> list[str]:
        """Say how many of each class were found, and what the probabilities were worth."""
        return [*self.scores.sentences(), *self.worth.sentences()]

    def write(self, path: str | Path) -> None:
        """Write all figures as JSON, the whole file or none."""
        write_whole(Path(path), (json.dumps(self.as_dict(), indent=2, allow_nan=False) + "\n").encode())


def evaluate(
    classifier: Classifier,
    manifest: Manifest,
    *,
    precision: Precision = "auto",
    decision: Decision | None = None,
    proportions: str | None = None,
) -> Job[Evaluation]:
    """Classify the labelled specimens of a manifest and compare.

    Parameters
    ----------
    classifier : Classifier
    manifest : Manifest
        Unlabelled specimens, and those of classes that the classifier does not know, are left out.
    precision, decision, proportions
        As `classify` takes them.

    Returns
    -------
    Evaluation

    Raises
    ------
    ManifestError
        If no specimen has a label that the classifier knows, or none could be read.
    """
    labelled = manifest.labelled()
    authors = labelled.table["by"].to_numpy()
    if said := int((authors == "classifier").sum()):
        yield Said(text=f"{said} labels were given by a classifier: they are left out.", warning=True)
        labelled = labelled.rows(np.flatnonzero(authors != "classifier"))
    if not len(labelled):
        raise ManifestError(
            "No specimen has a label from a person, so there is nothing to compare with. Label some first."
        )
    truth = labelled.labels(classifier.classes)
    unknown = sorted(set(labelled.table["label"][truth < 0]))
    known = labelled.rows(np.flatnonzero(truth >= 0))
    if not len(known):
        raise ManifestError(
            f"The labels are {', '.join(unknown)}, and the classifier knows {', '.join(classifier.classes)}. "
            f"Evaluate it on specimens of its own classes."
        )
    if unknown:
        yield Said(
            text=f"The classifier does not know {', '.join(unknown)}: {np.count_nonzero(truth < 0)} specimens "
            f"are left out.",
            warning=True,
        )
    predictions = yield from classify(
        known, classifier, precision=precision, decision=decision, proportions=proportions
    )
    if predictions.stopped:
        raise Stopped
    readable = (predictions.table["error"] == "").to_numpy()
    if not readable.any():
        raise ManifestError(f"No specimen could be read. The first: {predictions.table['error'].iat[0]}")
    places = {name: place for place, name in enumerate(classifier.classes)}
    predicted = predictions.table["predicted"][readable].map(places).to_numpy(np.int64)
    shown_truth = truth[truth >= 0][readable]
    scores = score(shown_truth, predicted, classifier.classes)
    found = worth(
        predictions.probabilities[readable],
        shown_truth,
        classifier.classes,
        classifier.reading(decision, proportions),
        classifier.calibrated,
    )
    if note := rate_note(manifest):
        yield Said(text=note, warning=True)
    seen = yield from _count_seen(known, classifier)
    if seen:
        yield Said(
            text=f"{seen} of these {len(known)} specimens were trained on: the figures promise too much.",
            warning=True,
        )
    return Evaluation(scores, predictions, seen, classifier.digest, found)


def _count_seen(manifest: Manifest, classifier: Classifier) -> Job[int]:
    """Count the specimens whose pixels the classifier was trained on, whatever their files are called."""
    trained = frozenset(classifier.training_digests)
    seen = 0
    for row in range(len(manifest)) if trained else ():
        try:
            seen += content_digest(manifest.specimen(row)) in trained
        except SpecimenError:
            continue
        if row % 50 == 0:
            yield Event(done=row, total=len(manifest))
    return seen
