"""How many of a rare class may still be unseen, from specimens drawn at random and judged blind.

A round is frozen when its first specimen is judged: its population is what had no label then, and its draws are
fixed. They are kept out of every other order, so that what hunting finds first cannot bend them. Rounds are never
pooled, for each is drawn from what the one before it, and the hunt beside it, had left.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

from napari_ctc.data.history import History
from napari_ctc.data.hunted import NOT_A_RATE
from napari_ctc.data.labels import Label

DRAWS = 100
"""Specimens that a round draws, where there are enough."""
ENOUGH = 60
"""Below so many looked at, nothing is said."""
FEWEST = 300
"""In a smaller population nothing is kept back for a round: looking at all of it is no more work."""
CONFIDENCE = 0.95


@dataclass(frozen=True, eq=False)
class Round:
    """Specimens drawn at random from those that had no label.

    Parameters
    ----------
    number : int
        From 1, as in `Pick.round`; 0 for draws that belong to no round, where there are too few specimens for one.
    draws : tuple of str
        Keys, in the order of drawing.
    population : int
        How many they were drawn from.
    seen : frozenset of str
        Keys that had a label, or were unsure, when it was frozen.
    """

    number: int
    draws: tuple[str, ...]
    population: int
    seen: frozenset[str] = frozenset()

    @classmethod
    def drawn(cls, number: int, keys: Sequence[str], seen: frozenset[str], seed: str = "") -> Round:
        """Draw a round from the keys that nobody has judged.

        The order is that of a digest of number and key: the same tomorrow, whatever else was opened meanwhile.
        """
        draws = tuple(key for key in _by_lot(seed, number, tuple(keys)) if key not in seen)
        left = len(draws)
        size = min(DRAWS, max(ENOUGH, left // 10)) if left >= FEWEST else 0
        if not size:
            return cls(0, draws, left, seen)
        return cls(number, draws[:size], left, seen)

    @property
    def kept_back(self) -> tuple[str, ...]:
        """The draws, which no other order may show; none in a round of number 0."""
        return self.draws if self.number else ()


@lru_cache(maxsize=4)  # asked again at each turn of the queue, of the same keys
def _by_lot(seed: str, number: int, keys: tuple[str, ...]) -> tuple[str, ...]:
    """Put all keys into the order in which a round draws them."""
    lots = {key: blake2b(f"{seed}\0{number}\0{key}".encode(), digest_size=8).digest() for key in keys}
    return tuple(sorted(keys, key=lots.__getitem__))


def current_round(history: History, keys: Sequence[str], seed: str = "") -> Round:
    """Give the round to draw from: the one begun last, or the next if all of its draws were judged."""
    number = max([1, *(step.pick.round for step in history.done if step.pick.how == "random")])
    found = frozen_round(history, keys, number, seed)
    if all(_judged(history.label_of(key)) for key in found.kept_back):
        found = frozen_round(history, keys, number + 1, seed)
    return found


def frozen_round(history: History, keys: Sequence[str], number: int, seed: str = "") -> Round:
    """Give a round as it was frozen; one that has not begun is drawn from what is left now."""
    seen = set(history.labels())
    steps = history.done
    begun = (i for i, step in enumerate(steps) if step.pick.how == "random" and step.pick.round == number)
    for step in reversed(steps[next(begun, len(steps)) :]):
        for change in reversed(step.changes):
            (seen.add if _judged(change.was) else seen.discard)(change.key)
    return Round.drawn(number, keys, frozenset(seen), seed)


# --------------------------------------------------------------------------------------------- the bound


@dataclass(frozen=True)
class Bound:
    """What a round says of one class.

    Parameters
    ----------
    name : str
        The class.
    looked, found : int
        Draws judged, and those among them that were judged to be of this class, blind or in a later correction.
    unclear : int
        Other draws that were put off, unsure or not judged blind: each counts as if it were of the class.
    left : int
        Specimens of the round's population that have no label now.
    most : int or None
        At most so many of the class are among them; None while that is not known.
    """

    name: str
    looked: int
    found: int
    unclear: int
    left: int
    most: int | None

    @property
    def sentence(self) -> str:
        """What to show."""
        looked = f"{self.name}: {self.found} of {self.looked} looked at"
        if self.unclear:
            looked += f" ({self.unclear} more unclear, counted as if they were)"
        if self.most is None:
            return f"{looked}; not yet known ({ENOUGH} are needed)"
        if not self.left:
            return f"{looked}; none are left"
        percent = _percent(self.most / self.left)
        return f"{looked}: at most {percent} % of the rest ({self.most:,} of {self.left:,}), 95 %, one-sided"


def bound(frozen: Round, history: History, keys: Sequence[str], rare: str) -> Bound:
    """Bound how many of a class are still unseen in a round's population.

    Parameters
    ----------
    frozen : Round
    history : History
    keys : sequence of str
        Of all specimens open, as they were given when the round was drawn.
    rare : str

    Notes
    -----
    The draws looked at are a simple random sample of the population, so the class's count in the sample is
    hypergeometric. All of the class that were found since the round was frozen, by whatever order, are taken off.
    """
    fair = history.random_labels().get(frozen.number, {}) if frozen.number else {}
    population = set(keys) - frozen.seen
    now = {key: label for key, label in history.labels().items() if key in population}
    known = {key for key, label in now.items() if label.name == rare}
    return _bound(frozen, fair, rare, len(population) - len(now), known)


def _bound(frozen: Round, fair: Mapping[str, Label], rare: str, left: int, known: Set[str]) -> Bound:
    last = max((place for place, key in enumerate(frozen.draws, 1) if key in fair), default=0)
    drawn = {key: fair.get(key, Label()).name for key in frozen.draws[:last]}
    # A slip that was corrected to the class is among the known, which are taken off: so the sample has it too.
    found = sum(name == rare or key in known for key, name in drawn.items())
    unclear = sum(not name and key not in known for key, name in drawn.items())
    most = None
    if last >= ENOUGH:
        most = min(left, max(0, most_in(frozen.population, last, found + unclear) - len(known)))
    return Bound(rare, last - unclear, found, unclear, left, most)


def most_in(population: int, looked: int, found: int, confidence: float = CONFIDENCE) -> int:
    """Give the upper end of the exact one-sided interval for a count in a population.

    Parameters
    ----------
    population, looked : int
        Specimens, and how many of them were drawn at random without putting any back.
    found : int
        Of the class among those drawn.
    confidence : float in (0, 1)

    Returns
    -------
    int
        The largest count of the class in the population with which so few would be found with a probability
        above ``1 - confidence`` (Buonaccorsi 1987, "A note on confidence intervals for proportions in finite
        populations", The American Statistician 41, 215-218).
    """
    low, high = found, population - (looked - found)  # low is always possible
    while low < high:
        middle = (low + high + 1) // 2
        if _at_most(found, population, middle, looked) > 1 - confidence - 1e-9:  # a tie counts as possible
            low = middle
        else:
            high = middle - 1
    return low


def _at_most(found: int, population: int, count: int, looked: int) -> float:
    """Give the probability of at most `found` in a hypergeometric sample; scipy.stats takes a second to load."""
    fewest = max(0, looked - (population - count))
    whole = _log_choose(population, looked)
    return math.fsum(
        math.exp(_log_choose(count, k) + _log_choose(population - count, looked - k) - whole)
        for k in range(fewest, min(found, count) + 1)
    )


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


# --------------------------------------------------------------------------------------- shares and yield


def shares(labels: Mapping[str, Label]) -> dict[str, float] | None:
    """Give each class's share among the labels of one round of `History.random_labels`; None where too few.

    Unsure counts among the whole. Labels that a person hunted for are no rate: see `NOT_A_RATE`.
    """
    if len(labels) < ENOUGH:
        return None
    names = [label.name for label in labels.values() if label.name]
    return {name: names.count(name) / len(labels) for name in dict.fromkeys(names)}


def share_sentence(history: History, number: int) -> str:
    """Say what share of a round's random labels each class has, or that the labels there are tell no shares."""
    labels = history.random_labels().get(number, {})
    found = shares(labels)
    if found is None:
        return f"How many of the labels each class has is {NOT_A_RATE}."
    of = ", ".join(f"{name} {100 * share:.0f} %" for name, share in found.items())
    return f"Of {len(labels)} drawn at random and judged blind in round {number}: {of}."


def hits(history: History, rare: str, last: int = 20) -> str:
    """Say how well the queue finds: "tumour cell hits in the last 20: 7", which is no rate of the class."""
    steps = history.steps_as_named_now()
    queued = [change for step in steps if step.pick.how != "chosen" for change in step.changes]
    recent = [change for change in queued if _judged(change.now)][-last:]
    found = sum(change.now.name == rare for change in recent)
    return f"{rare} hits in the last {len(recent)}: {found}, {NOT_A_RATE}"


def _judged(label: Label) -> bool:
    return bool(label.name or label.unsure)


def _percent(share: float) -> str:
    """Round up: a bound must not be rounded below itself."""
    digits = 0 if share >= 0.01 else 1
    return f"{math.ceil(round(share * 100 * 10**digits, 6)) / 10**digits:g}"
