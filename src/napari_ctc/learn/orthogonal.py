"""The nearest orthogonal matrices, roughly and for many small ones at once: what Muon makes of a step.

The Newton-Schulz iteration of Jordan et al. 2024 ("Muon: an optimizer for hidden layers in neural networks"): its
five rounds bring each singular value of a matrix M to between 0.7 and 1.2, but for the very small. Every round
multiplies M from the left by a polynomial of M Mt. A filter has far more numbers than there are filters, so the
rounds are worked out on the small square M Mt alone, and M is multiplied once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

ROUNDS = 5
FIRST, THIRD, FIFTH = 3.4445, -4.7750, 2.0315  # coefficients of the polynomial, by the power of M
LEAST = 1e-30  # of a sum of squares: a matrix of zeros stays one
SIDE = 32  # squares are filled up with zeros to this side, or to the next power of two, and computed together


def orthogonal(matrices: Sequence[Tensor]) -> list[Tensor]:
    """Bring the singular values of matrices to about 1, and leave the singular vectors.

    Parameters
    ----------
    matrices : (m, n) float32 tensors
        Each of its own size; m should not be much larger than n.

    Returns
    -------
    list of (m, n) float32 tensors
    """
    alike: defaultdict[int, list[int]] = defaultdict(list)
    for place, one in enumerate(matrices):
        alike[max(SIDE, 1 << (len(one) - 1).bit_length())].append(place)
    factors: dict[int, Tensor] = {}
    for side, places in alike.items():
        squares = matrices[places[0]].new_zeros(len(places), side, side)
        for square, place in zip(squares, places, strict=True):
            one = matrices[place]
            square[: len(one), : len(one)] = one @ one.T
        factors |= zip(places, _factors(squares), strict=True)
    return [factors[place][: len(one), : len(one)] @ one for place, one in enumerate(matrices)]


def _factors(squares: Tensor) -> Tensor:
    """Give by what to multiply each M, (N, m, m), from its M Mt."""
    sizes = squares.diagonal(dim1=1, dim2=2).sum(1).clamp(min=LEAST)[:, None, None]
    squares = squares / sizes
    identity = torch.eye(squares.shape[1], dtype=squares.dtype, device=squares.device).expand_as(squares)
    factors = identity / sizes.sqrt()
    for _ in range(ROUNDS):
        polynomial = torch.baddbmm(FIRST * identity + THIRD * squares, squares, squares, alpha=FIFTH)
        factors = polynomial @ factors
        squares = polynomial @ squares @ polynomial
    return factors
