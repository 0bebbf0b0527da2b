"""The loss. How rare classes are weighed in it is in `weights`."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor

from napari_ctc.learn.weights import met_shares
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


def guessing(counts: ArrayLike, weighting: Weighting) -> float:
    """Give the least training loss of a network that tells no specimen from another; nats.

    Less than the loss of equal scores where a rule leaves some classes more common than others: always saying the
    common one is a start. Smoothed labels are in mean as the others are.
    """
    return entropy(met_shares(counts, weighting))


def weighted_cross_entropy(scores: Tensor, truth: Tensor, weights: Tensor, spread: Tensor | None = None) -> Tensor:
    """Mean over specimens of the weighted cross-entropy.

    Parameters
    ----------
    scores : (B, K) raw scores
    truth : (B,) int64
    weights : (K,) float32
    spread : (K,) float32, or None
        What each class gets of every label (label smoothing, Szegedy et al. 2016); the true one gets what is left
        of one. It should be in the proportions that the loss meets: spread evenly, a very rare class gets more of
        each label than it is common, and a decision that divides by how common it is calls everything so.

    Notes
    -----
    PyTorch's own mean divides by the weights of the batch, which takes back most of a rare specimen's weight
    in the batch it is in; dividing by the number of specimens does not. The smoothed part is weighed by the true
    class, too: PyTorch weighs it by the other classes, which lets a rare one leak into every specimen.
    """
    scores = scores.float()
    losses = F.cross_entropy(scores, truth, reduction="none")
    if spread is not None:
        everywhere = -(F.log_softmax(scores, 1) @ spread)  # (B,) nats
        losses = (1 - spread.sum()) * losses + everywhere
    return torch.dot(weights[truth], losses) / len(truth)
