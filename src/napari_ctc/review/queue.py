"""What to look at next. `ORDERS` is the one place to add an order: a function and its line.

One in five of the queue is drawn at random, with predictions hidden: what `audit` needs to say how many may still
be unseen. The others come as the chosen order has them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_ctc.data.history import Pick
from napari_ctc.review.audit import Round
from napari_ctc.review.space import Floats, Space

How = Literal["uncertain", "rare", "unlike", "random"]
Prediction = Literal["visible", "hidden", "none"]

ONE_IN = 5
"""One in so many of the queue is drawn at random."""


@dataclass(frozen=True, eq=False)
class State:
    """What is known when the next specimen is chosen.

    Parameters
    ----------
    space : Space
    truth : (N,) integers
        Each specimen's class; -1 for none.
    unsure : (N,) bool
        Looked at, and not to be asked again.
    probabilities : (N, K) float32, optional
        Of a head or a classifier; None before there is one.
    rare : int
        The place of the rare class; -1 for none.
    """

    space: Space
    truth: NDArray[np.int64]
    unsure: NDArray[np.bool_]
    probabilities: Floats | None = field(default=None, repr=False)
    rare: int = -1

    @property
    def open(self) -> NDArray[np.bool_]:
        """Which specimens may be asked: measured, not labelled, not unsure."""
        return self.space.known & (self.truth < 0) & ~self.unsure


class Next(NamedTuple):
    """A specimen to look at, and what the journal is to say of it."""

    row: int
    pick: Pick


# --------------------------------------------------------------------------------------------- the orders


def mixed(state: State, turn: int) -> How:
    """Take what is likely rare, and every third time what is most uncertain."""
    return uncertain(state, turn) if turn % 3 == 2 else rare(state, turn)


def rare(state: State, turn: int) -> How:
    """Take what is most likely rare; while nothing is known of the rare class, what is most unlike the others."""
    known = state.probabilities is not None and bool((state.truth == state.rare).any())
    return "rare" if known else "unlike"


def uncertain(state: State, turn: int) -> How:
    """Take what the head hesitates about most; while there is none, what is most unlike the others."""
    return "unlike" if state.probabilities is None else "uncertain"


def unlike(state: State, turn: int) -> How:
    """Take what is most unlike anything labelled."""
    return "unlike"


def random(state: State, turn: int) -> How:
    """Draw."""
    return "random"


ORDERS: dict[str, Callable[[State, int], How]] = {
    order.__name__: order for order in (rare, mixed, uncertain, unlike, random)
}
"""Orders by name, the default first: each says, for a turn of the queue, by which score to choose."""
DEFAULT = next(iter(ORDERS))


def _margin(state: State) -> Floats:
    """Negative margin between the two most probable classes (Scheffer, Decomain and Wrobel 2001)."""
    assert state.probabilities is not None
    best = np.partition(state.probabilities, -2, axis=1)
    margins: Floats = best[:, -2] - best[:, -1]
    return margins


def _likely(state: State) -> Floats:
    assert state.probabilities is not None
    return state.probabilities[:, state.rare]


def _distance(state: State) -> Floats:
    """Distance to the nearest that was judged (farthest-first traversal, Gonzalez 1985)."""
    judged = np.flatnonzero((state.truth >= 0) | state.unsure)
    if len(judged):
        return state.space.distances(judged)
    lengths: Floats = -np.einsum("nd,nd->n", state.space.sketch, state.space.sketch)
    return lengths  # begin in the middle, with an ordinary specimen


SCORES: dict[How, Callable[[State], Floats]] = {"uncertain": _margin, "rare": _likely, "unlike": _distance}
"""What is highest comes first."""


# ---------------------------------------------------------------------------------------------- the queue


def next_up(
    state: State,
    keys: Sequence[str],
    round_: Round,
    order: str = DEFAULT,
    count: int = 1,
    turn: int = 0,
    skipped: Collection[str] = (),
) -> list[Next]:
    """Give the next specimens to look at.

    Parameters
    ----------
    state : State
    keys : sequence of N str
    round_ : Round
        Whose draws are the random ones; no order shows them otherwise.
    order : str
        A name in `ORDERS`.
    count : int
        How many are wanted; fewer come where fewer are left.
    turn : int
        How many came from the queue before: every fifth is drawn at random.
    skipped : collection of str
        Keys that the person put off: they come after all others of their kind, drawn or hunted.
    """
    rows = {key: row for row, key in enumerate(keys)}
    may = state.open
    draws = [rows[key] for key in round_.draws if key in rows]
    late = {rows[key] for key in skipped if key in rows}
    chance = _put_off((row for row in draws if may[row]), late)
    huntable = may.copy()
    huntable[[rows[key] for key in round_.kept_back if key in rows]] = False

    @cache
    def ranking(how: How) -> list[int]:
        scores = np.where(huntable, SCORES[how](state), -np.inf)
        best = np.argsort(-scores, kind="stable")[: int(huntable.sum())]
        return _put_off(best.tolist(), late)

    seen: Prediction = "none" if state.probabilities is None else "visible"
    blind: Prediction = "none" if state.probabilities is None else "hidden"
    found: dict[int, Pick] = {}
    for place in range(turn, turn + count):
        how = "random" if place % ONE_IN == ONE_IN - 1 else ORDERS[order](state, place)
        hunted = None if how == "random" else _first(ranking(how), found)
        if hunted is not None:
            found[hunted] = Pick(how, seen)
        elif (drawn := _first(chance, found)) is not None:
            found[drawn] = Pick("random", blind, round_.number)
        elif order != "random" and (rest := _first(ranking("unlike"), found)) is not None:
            found[rest] = Pick("unlike", seen)
    return [Next(row, pick) for row, pick in found.items()]


def _put_off(order: Iterable[int], late: Collection[int]) -> list[int]:
    """Bring to the end what the person skipped."""
    return sorted(order, key=late.__contains__)


def _first(order: Iterable[int], taken: Collection[int]) -> int | None:
    return next((row for row in order if row not in taken), None)
