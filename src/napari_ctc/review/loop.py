"""The loop: fit the head to the labels that stand, say what to look at next, and how far one has come.

Functions of labels and features, with no thread of their own. Where the features come from is in `features` and
`embedding`; who asks, and in which thread, is the window's business.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from napari_ctc.data.history import History
from napari_ctc.review.audit import bound, current_round, frozen_round, hits, share_sentence
from napari_ctc.review.head import Head, fit_head
from napari_ctc.review.hunt import hunted_class
from napari_ctc.review.queue import DEFAULT, Next, State, next_up
from napari_ctc.review.space import Floats, Space


@dataclass(frozen=True, eq=False)
class Learnt:
    """What the labels given so far teach of all specimens.

    Parameters
    ----------
    space : Space
    head : Head or None
        None before two classes have labels.
    probabilities : (N, classes) float32 or None
        What the head says of each, as if all classes were equally frequent; NaN for those that are not measured.
    labels : int
        How many the head learnt from; 0 without one.
    """

    space: Space
    head: Head | None = field(default=None, repr=False)
    probabilities: Floats | None = field(default=None, repr=False)
    labels: int = 0


def learn(space: Space, truth: NDArray[np.int64], classes: int, before: Head | None = None) -> Learnt:
    """Fit the head to the labels that stand, and let it speak of all specimens.

    Parameters
    ----------
    space : Space
        Of N specimens.
    truth : (N,) integers
        Each specimen's class; -1 for none.
    classes : int
        How many classes there are.
    before : Head, optional
        The last one, to begin with.
    """
    if before is not None and before.weights.shape[1] != space.values.shape[1]:
        before = None
    learnt = np.where(space.known, truth, -1)
    head = fit_head(space.values, learnt, before)
    if head is None:
        return Learnt(space)
    probabilities = head.probabilities(space.values, classes)
    probabilities[~space.known] = np.nan
    return Learnt(space, head, probabilities, int((learnt >= 0).sum()))


@dataclass(frozen=True, eq=False)
class Turn:
    """What a turn of the loop found.

    Parameters
    ----------
    next : Next or None
        The specimen to look at; None where none is left, or none is measured yet.
    rare : str
        The class that was hunted; empty while no class has a name.
    hits : str
        How well the queue finds the rare class; empty before anything came from it.
    bound : str
        How many of the rare class may be unseen; empty before the first of a round was judged.
    shares : str
        What is known of the share of each class; empty before anything came from the queue.
    """

    next: Next | None
    rare: str = ""
    hits: str = ""
    bound: str = ""
    shares: str = ""


def take_turn(
    history: History,
    keys: Sequence[str],
    learnt: Learnt,
    classes: Sequence[str],
    rare: str = "",
    order: str = DEFAULT,
    skipped: Collection[str] = (),
) -> Turn:
    """Give the specimen to look at next.

    Parameters
    ----------
    history : History
        Says which labels stand, and which of them came from the queue: a round goes on where it was left.
    keys : sequence of N str
    learnt : Learnt
        Of the same N specimens.
    classes : sequence of str
        In the order of their keys 1 to 9.
    rare : str
        The class to hunt; where it is none of the classes, `hunted_class` says which.
    order : str
        A name in `review.queue.ORDERS`.
    skipped : collection of str
        Keys that the person put off.
    """
    places = {name: place for place, name in enumerate(classes)}
    rows = {key: row for row, key in enumerate(keys)}
    truth, unsure = np.full(len(keys), -1, np.int64), np.zeros(len(keys), bool)
    for key, label in history.labels().items():  # most specimens have none
        if (row := rows.get(key)) is not None:
            truth[row], unsure[row] = places.get(label.name, -1), label.unsure
    counts = np.bincount(truth[truth >= 0], minlength=len(classes))
    name = rare if rare in places else hunted_class(history, dict(zip(classes, counts.tolist(), strict=True)))
    round_ = current_round(history, keys)
    queued = [step.pick for step in history.done if step.pick.how not in ("chosen", "review")]
    state = State(learnt.space, truth, unsure, learnt.probabilities, places.get(name, -1))
    found = next_up(state, keys, round_, order, turn=len(queued), skipped=skipped)
    begun = max((pick.round for pick in queued if pick.how == "random"), default=0)
    sentence = bound(frozen_round(history, keys, begun), history, keys, name).sentence if begun and name else ""
    found_how = hits(history, name) if queued and name else ""
    shares = share_sentence(history, begun) if queued else ""
    return Turn(found[0] if found else None, name, found_how, sentence, shares)
