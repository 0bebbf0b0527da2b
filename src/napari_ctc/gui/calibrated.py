"""Whether a number in the window may be called a probability, or is a score, and why: in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_ctc.score.reliability import ENOUGH

if TYPE_CHECKING:
    from napari_ctc.learn.classifier import Classifier

PROBABILITY, SCORE = "probability", "score"


def heading(classifier: Classifier | None) -> str:
    """Name the column of numbers: "score" where no class of the classifier is calibrated."""
    return SCORE if classifier is not None and not classifier.calibrated else PROBABILITY


def number(classifier: Classifier | None, name: str, value: float) -> str:
    """Write the number of a class, marked where the column's heading promises more than it is."""
    marked = heading(classifier) == PROBABILITY and is_score(classifier, name)
    return f"{SCORE} {value:.3f}" if marked else f"{value:.3f}"


def is_score(classifier: Classifier | None, name: str) -> bool:
    """Tell whether a class of the classifier is not calibrated."""
    return classifier is not None and name not in classifier.calibrated


def why(classifier: Classifier | None, name: str) -> str:
    """Say what the number of a class is worth."""
    if is_score(classifier, name):
        return (
            f"A score that puts specimens in order, not a calibrated probability: fewer than {ENOUGH} labelled "
            f"specimens of {name} were held out in training to check it on."
        )
    return "A probability: of specimens with 0.9, about nine in ten are what they are called."


def summary(classifier: Classifier) -> str:
    """Say in a few lines what a classifier's numbers are for and worth."""
    how = classifier.described()
    scores = ", ".join(name for name in classifier.classes if is_score(classifier, name))
    lines = [f"Probabilities are for {how['proportions']}; temperature {classifier.temperature:.2f}."]
    if scores:
        lines.append(f"Scores, not calibrated (fewer than {ENOUGH} specimens held out): {scores}.")
    return "\n".join(lines)
