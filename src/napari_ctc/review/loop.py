"""One turn of the loop: fit the head to the labels that stand, say what to look at next, and how far one has come.

A function of a journal's history and of features, to be called in the thread that owns the journal. Where the
features come from is in `features` and `embedding`; who asks is the window's business.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from napari_ctc.data.history import History
from napari_ctc.review.audit import bound, current_round, frozen_round, hits
from napari_ctc.review.head import Head, fit_head
from napari_ctc.review.queue import DEFAULT, Next, State, least_labelled, next_up
from napari_ctc.review.space import Space


@dataclass(frozen=True, eq=False)
class Turn:
    """What a turn of the loop found.

    Parameters
    ----------
    next : Next or None
        The specimen to look at; None where none is left, or none is measured yet.
    rare : str
        The class that was hunted; empty while no class has a name.
    head : Head or None
        None before two classes have labels.
    hits : str
        How well the queue finds the rare class; empty before anything came from it.
    bound : str
        How many of the rare class may be unseen; empty before the first of a round was judged.
    labels : int
        How many labels the head learnt from.
    """

    next: Next | None
    rare: str = ""
    head: Head | None = field(default=None, repr=False)
    hits: str = ""
    bound: str = ""
    labels: int = 0


def take_turn(
    history: History,
    keys: Sequence[str],
    space: Space,
    classes: Sequence[str],
    rare: str = "",
    order: str = DEFAULT,
    skipped: Collection[str] = (),
    before: Head | None = None,
) -> Turn:
    """Give the specimen to look at next.

    Parameters
    ----------
    history : History
        Says which labels stand, and which of them came from the queue: a round goes on where it was left.
    keys : sequence of N str
    space : Space
        Of the same N specimens.
    classes : sequence of str
        In the order of their keys 1 to 9.
    rare : str
        The class to hunt; where it is none of the classes, the one with the fewest labels.
    order : str
        A name in `review.queue.ORDERS`.
    skipped : collection of str
        Keys that the person put off.
    before : Head, optional
        The last one.
    """
    places = {name: place for place, name in enumerate(classes)}
    said = [history.label_of(key) for key in keys]
    truth = np.array([places.get(label.name, -1) for label in said], np.int64)
    unsure = np.array([label.unsure for label in said], bool)
    counts = np.bincount(truth[truth >= 0], minlength=len(classes))
    hunted = places.get(rare, least_labelled(counts))
    learnt = np.where(space.known, truth, -1)
    if before is not None and before.weights.shape[1] != space.values.shape[1]:
        before = None
    head = fit_head(space.values, learnt, before)
    probabilities = None if head is None else head.probabilities(space.values, len(classes))
    round_ = current_round(history, keys)
    queued = [step.pick for step in history.done if step.pick.how not in ("chosen", "review")]
    state = State(space, truth, unsure, probabilities, hunted)
    found = next_up(state, keys, round_, order, turn=len(queued), skipped=skipped)
    name = classes[hunted] if hunted >= 0 else ""
    begun = max((pick.round for pick in queued if pick.how == "random"), default=0)
    sentence = bound(frozen_round(history, keys, begun), history, keys, name).sentence if begun and name else ""
    return Turn(
        found[0] if found else None,
        name,
        head,
        hits(history, name) if queued and name else "",
        sentence,
        int((learnt >= 0).sum()) if head is not None else 0,
    )
