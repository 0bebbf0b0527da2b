"""Whether a number in the window may be called a probability, or is a score, and why: in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_ctc.data.hunted import NOT_A_RATE
from napari_ctc.gui.speakers import is_instant
from napari_ctc.score.reliability import ENOUGH

if TYPE_CHECKING:
    from napari_ctc.gui.speakers import Speaker
    from napari_ctc.learn.classifier import Classifier

PROBABILITY, SCORE = "probability", "score"


def heading(speaker: Speaker | None) -> str:
    """Name the column of numbers: "score" where no class of the speaker is calibrated."""
    return SCORE if speaker is not None and not speaker.calibrated else PROBABILITY


def number(speaker: Speaker | None, name: str, value: float) -> str:
    """Write the number of a class, marked where the column's heading promises more than it is."""
    marked = heading(speaker) == PROBABILITY and is_score(speaker, name)
    return f"{SCORE} {value:.3f}" if marked else f"{value:.3f}"


def is_score(speaker: Speaker | None, name: str) -> bool:
    """Tell whether a class of the speaker is not calibrated."""
    return speaker is not None and name not in speaker.calibrated


def why(speaker: Speaker | None, name: str) -> str:
    """Say what the number of a class is worth."""
    if is_instant(speaker):
        return "A score that puts specimens in order, as if all classes were equally frequent: not a probability."
    if is_score(speaker, name) and _hunted(speaker):
        return (
            f"A score that puts specimens in order, not a calibrated probability: the labels that it would be "
            f"checked on were chosen or hunted, not drawn at random. In a sample of others, fewer or more of "
            f"those with 0.9 are {name}."
        )
    if is_score(speaker, name):
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
    hunted = _hunted(classifier)
    if scores:
        reason = "labels chosen or hunted" if hunted else f"fewer than {ENOUGH} specimens held out"
        lines.append(f"Scores, not calibrated ({reason}): {scores}.")
    if hunted:
        lines.append(f"What it says of shares, recall and accuracy is {NOT_A_RATE}.")
    return "\n".join(lines)


def _hunted(speaker: Speaker | None) -> bool:
    """Tell whether the labels were chosen or hunted that a classifier was trained and checked on."""
    warnings = getattr(speaker, "metrics", {}).get("warnings", ())
    return any(NOT_A_RATE in told for told in warnings)
