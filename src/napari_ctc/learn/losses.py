"""The loss. How rare classes are weighed in it is in `weights`."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor

from napari_ctc.learn.weights import WEIGHTINGS, loss_prior
from napari_ctc.settings import Weighting


def entropy(shares: ArrayLike) -> float:
    """Give the least mean loss of a guess that is the same for all specimens; nats.

    Parameters
    ----------
    shares : (K,) numbers of any common factor
        How much each class counts.
    """
    share = np.asarray(shares, dtype=np.float64)
    share = share[share > 0] / share.sum()
    return float(-(share * np.log(share)).sum())


def guessing(counts: ArrayLike, weighting: Weighting, smoothing: float = 0.0) -> float:
    """Give the least training loss of a network that tells no specimen from another; nats.

    Less than the loss of equal scores where a rule leaves some classes more common than others: always saying the
    common one is a start.
    """
    numbers = np.asarray(counts, dtype=np.float64)
    # An adjusted loss meets the classes as they are; it is its scores that are for equal ones.
    shares = numbers / numbers.sum() if WEIGHTINGS[weighting].adjusts else np.array(loss_prior(counts, weighting))
    return entropy((1 - smoothing) * shares + smoothing / len(shares))


def weighted_cross_entropy(scores: Tensor, truth: Tensor, weights: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean over specimens of the weighted cross-entropy.

    Parameters
    ----------
    scores : (B, K) raw scores
    truth : (B,) int64
    weights : (K,) float32
    smoothing : float in [0, 1]
        Share of each label that is spread over all classes (Szegedy et al. 2016).

    Notes
    -----
    PyTorch's own mean divides by the weights of the batch, which takes back most of a rare specimen's weight
    in the batch it is in; dividing by the number of specimens does not. The smoothed part is weighed by the true
    class, too: PyTorch weighs it by the other classes, which lets a rare one leak into every specimen.
    """
    losses = F.cross_entropy(scores.float(), truth, reduction="none", label_smoothing=smoothing)
    return torch.dot(weights[truth], losses) / len(truth)
