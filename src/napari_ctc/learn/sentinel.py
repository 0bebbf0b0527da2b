"""The loss sentinel: stop a run whose loss cannot be right, and say why in a sentence.

The script that this project began with trained for hours on a loss that fell to minus infinity.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from napari_ctc.errors import TrainingError

LEAST, MOST = 0.4, 3.0  # bounds of an untrained network's loss, in units of chance


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
