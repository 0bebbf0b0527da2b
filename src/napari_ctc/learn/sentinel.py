"""The loss sentinel: stop a run whose loss cannot be right, and say why in a sentence.

The script that this project began with trained for hours on a loss that fell to minus infinity. `Sentinel` checks
each step and stops the run; `looked_back` judges a run at its end, and only warns. The thresholds were tried on
real and drawn specimens: a false alarm is worse than silence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_ctc.errors import TrainingError
from napari_ctc.score.metrics import Scores

LEAST, MOST = 0.4, 3.0  # bounds of an untrained network's loss, in units of chance
ENOUGH = 100  # optimiser steps, below which a run is too short to judge
FLAT = 0.97  # of the loss of guessing: real specimens came below 0.9 within 30 steps
RISEN = 2.0  # of the least validation loss: real specimens ended at 1.4 and did well
FEW = 5  # validation specimens of a class, below which one of them decides its loss
FALLEN = 0.7  # of the loss of guessing: some of the training specimens were learnt


@dataclass(frozen=True)
class Sentinel:
    """Watches the training loss.

    Parameters
    ----------
    classes : int
        How many classes there are.
    learning_rate : float
    constant_channels : sequence of str
        Names of channels that have the same value in every training specimen.
    """

    classes: int
    learning_rate: float
    constant_channels: Sequence[str] = ()

    def check_start(self, loss: float, chance: float) -> None:
        """Check the loss of untrained weights: near that of guessing.

        Parameters
        ----------
        loss : float, nats
        chance : float, nats
            The loss of equal scores for the same specimens, with their weights.

        Raises
        ------
        TrainingError
        """
        self.check_step(loss, 0)
        if not LEAST * chance <= loss <= MOST * chance:
            raise TrainingError(
                f"Training was stopped before its first step: the loss of the untrained network is {loss:.3g}, "
                f"where guessing among {self.classes} classes gives {chance:.3g}. The loss does not fit the "
                f"network's outputs; a new network must return raw scores, and the loss must be the "
                f"cross-entropy of raw scores."
            )

    def check_step(self, loss: float, step: int) -> None:
        """Check the loss of one step: a finite number, and not negative.

        Raises
        ------
        TrainingError
        """
        if math.isfinite(loss) and loss >= 0:
            return
        if loss < 0 and math.isfinite(loss):
            raise TrainingError(
                f"Training was stopped at step {step}: the loss is negative ({loss:.3g}), which a cross-entropy "
                f"never is. The loss does not fit the network's outputs, so more training makes it worse."
            )
        raise TrainingError(
            f"Training was stopped at step {step}: the loss is not a finite number. {self._cause(step)}"
        )

    def _cause(self, step: int) -> str:
        if self.constant_channels:
            names = " and ".join(self.constant_channels)
            return (
                f"The likely cause is {names}, the same in every training specimen: specimens that differ there "
                f"overflow. Leave that channel out, or check how the specimens were saved."
            )
        if step <= 1:
            return (
                "The likely cause is a specimen with extreme pixel values. Look at the specimens' contrast, and "
                "leave the odd ones out."
            )
        return (
            f"The likely cause is a learning rate that is too large ({self.learning_rate:g}). Try a tenth of it."
        )


def missing(classes: Sequence[str], validation: Sequence[int]) -> list[str]:
    """Say which classes have no validation specimen, given how many each has."""
    return [
        f"There is no {name} among the validation specimens, so nobody knows how many of them this classifier "
        f"finds. Label more, from other sources."
        for name, count in zip(classes, validation, strict=True)
        if not count
    ]


def looked_back(history: Sequence[tuple[float, float]], guessing: float, scores: Scores) -> list[str]:
    """Judge a run at its end; an empty list if nothing is wrong.

    Parameters
    ----------
    history : sequence of (training loss, validation loss), nats
        Of each epoch. Validation losses are means over classes.
    guessing : float, nats
        The least training loss of a network that tells no specimen from another.
    scores : Scores
        Of the last epoch, on the validation specimens.
    """
    training, last = history[-1]
    if training > FLAT * guessing:
        return [
            f"Hardly anything was learnt: the training loss ended at {training:.2f}, where guessing costs "
            f"{guessing:.2f}. Either the labels do not belong to these specimens (look at some of each class), or "
            f"the classes look alike, or the learning rate does not fit: set it back to what it is by default."
        ]
    low, high = scores.balanced_interval()
    if training < FALLEN * guessing and low <= scores.chance and high < (1 + scores.chance) / 2:
        return [
            f"The specimens trained on were learnt, but on those held out the balanced accuracy is "
            f"{scores.balanced_accuracy:.2f}, no better than guessing ({scores.chance:.2f}). The labels look "
            f"shuffled, or the classes look alike: look at some specimens of each class."
        ]
    least = min(loss for _, loss in history)
    equal = math.log(np.count_nonzero(scores.counts))
    few = scores.counts[scores.counts > 0].min() < FEW
    if training < FALLEN * guessing and last > max(RISEN * least, equal) and not few:
        return [
            f"The network went on to learn its training specimens by heart: the loss on those held out rose from "
            f"{least:.2f} to {last:.2f}, where guessing costs {equal:.2f}, so do not trust its probabilities. "
            f"Set 'patience' to keep the best epoch, or label more specimens."
        ]
    return []
