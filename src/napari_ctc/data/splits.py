"""Deal specimens into training and validation (or test), by class, with each source kept together.

A slide's or patient's specimens resemble each other, so a split that tears a source apart promises too much. So
does one that holds out what the network has already seen. A rare class must still be on both sides wherever that
can be had; what cannot be had is said in a note.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_ctc.data.manifest import Manifest

Rows = NDArray[np.intp]
Floats = NDArray[np.floating[Any]]

EXHAUSTIVE = 12  # up to so many sources every split is tried: 4,096 of them

TORN = (
    "The sources that the classifier to start from has not seen cannot be held out whole, so specimens that it "
    "has not seen are held out one by one, while others of their sources are trained on."
)


@dataclass(frozen=True)
class Split:
    """Rows of a manifest for training and for holding out.

    Parameters
    ----------
    train, validation : (n,) integers
        Row numbers, ascending. Unlabelled rows and rows marked test are in neither.
    notes : tuple of str
        What could not be had, in sentences.
    """

    train: Rows
    validation: Rows
    notes: tuple[str, ...] = ()


def split(
    manifest: Manifest,
    fraction: float = 0.2,
    seed: int = 0,
    groups: Rows | None = None,
    seen: NDArray[np.bool_] | None = None,
) -> Split:
    """Split the labelled specimens of a manifest.

    Rows that the manifest itself marks `train`, `validation` or `test` stay there; if it marks any as
    validation, nothing else is held out.

    Parameters
    ----------
    manifest : Manifest
    fraction : float in (0, 1)
        The share of each class to hold out.
    seed : int
    groups : (n,) integers, optional
        The rows that are kept together have the same number; by default those of one source.
    seen : (n,) of bool, optional
        The rows that a network was already trained on. As many of a class are held out as without them, or as
        there are others, but none of them and no group with one of them. What has been seen is held out only of
        a class of which nothing else is there. Rows that the manifest marks stay where they are.

    Returns
    -------
    Split
    """
    labelled = (manifest.table["label"] != "").to_numpy()
    marked = manifest.table["split"].to_numpy()
    free = np.flatnonzero(labelled & (marked != "test"))
    validation = free[marked[free] == "validation"]
    if marks_validation(manifest):
        return Split(free[marked[free] != "validation"], validation, _notes_on_sides(manifest, free, validation))
    movable = free[marked[free] == ""]
    if not len(movable):  # the manifest marks training and test alone: hold some of its training out
        movable = free
    elif groups is None:
        movable = _loose(manifest, movable, free[marked[free] == "train"])
    group = _groups_of_sources(manifest.rows(movable)) if groups is None else np.asarray(groups)[movable]
    known = np.zeros(len(manifest), dtype=bool) if seen is None else seen
    held, notes = _held_out(manifest.rows(movable), group, known[movable], fraction, seed)
    validation = np.sort(movable[held])
    train = np.setdiff1d(free, validation)
    if len(movable) < len(free) and (shared := note_on_sources(manifest.rows(train), manifest.rows(validation))):
        notes = (*notes, shared)
    return Split(train, validation, notes)


def note_on_sources(training: Manifest, held: Manifest) -> str:
    """Say how many sources specimens of both come from; empty if none does."""
    both = (set(training.table["source"]) & set(held.table["source"])) - {""}
    if not both:
        return ""
    number = f"{len(both)} sources are" if len(both) > 1 else f"The source {next(iter(both))} is"
    return f"{number} both trained on and held out, so the figures may promise too much."


def _loose(manifest: Manifest, movable: Rows, fixed: Rows) -> Rows:
    """Leave those out that share a source with rows marked train, unless a class has none left then."""
    sources = manifest.table["source"].to_numpy()
    loose = movable[~np.isin(sources[movable], list(set(sources[fixed]) - {""}))]
    labels = manifest.table["label"].to_numpy()
    return loose if set(labels[loose]) == set(labels[movable]) else movable


def marks_validation(manifest: Manifest) -> bool:
    """Say whether a manifest marks labelled rows as validation, so that nothing else is held out."""
    table = manifest.table
    return bool(((table["label"] != "") & (table["split"] == "validation")).any())


def note_on_test(manifest: Manifest) -> str:
    """Name the classes whose labelled specimens are all marked test, so that nobody learns them; empty if none."""
    kept = manifest.rows(np.flatnonzero((manifest.table["split"] != "test").to_numpy())).classes
    names = [name for name in manifest.classes if name not in kept]
    return f"Not learnt, since all of its specimens are marked test: {', '.join(names)}." if names else ""


def hold_out(manifest: Manifest, fraction: float = 0.2, seed: int = 0) -> Manifest:
    """Mark a share of the labelled specimens as `test` and the others as `train`; those marked test stay so.

    The share is of those that are not marked test yet.

    Returns
    -------
    Manifest
        With its column `split` filled for labelled rows, and the split's notes.
    """
    marks = np.where(manifest.table["split"] == "test", "test", "").astype(object)
    dealt = split(manifest.with_column("split", marks), fraction, seed)
    marks[dealt.train], marks[dealt.validation] = "train", "test"
    marked = manifest.with_column("split", marks)
    return Manifest(marked.table, marked.root, marked.layout, (*marked.notes, *dealt.notes))


def _groups_of_sources(manifest: Manifest) -> Rows:
    """Give each source a number, and each specimen of unknown source one of its own."""
    sources = manifest.table["source"].to_numpy()
    if len(set(sources) - {""}) == 1 and (sources == "").any():
        return np.arange(len(sources))  # whether the unknown ones are of the one known source, nobody can say
    names = np.where(sources != "", sources, [f"\0{row}" for row in range(len(sources))])
    group: Rows = np.unique(names, return_inverse=True)[1]
    return group


def _held_out(
    manifest: Manifest, group: Rows, seen: NDArray[np.bool_], fraction: float, seed: int
) -> tuple[Rows, tuple[str, ...]]:
    classes = manifest.classes
    labels = manifest.labels(classes)
    random = np.random.default_rng(seed)
    names, group = np.unique(group, return_inverse=True)
    sources = set(manifest.table["source"]) - {""}
    few = _notes_on_few(classes, labels, seen, fraction)
    if len(names) == len(group):  # nothing is tied to anything
        return _by_class(labels, seen, len(classes), fraction, random), few
    if len(names) == 1:
        one = f" ({next(iter(sources))})" if len(sources) == 1 else ""
        note = f"All specimens come from one source{one}, so none could be held out whole."
        return _by_class(labels, seen, len(classes), fraction, random), (note, *few)
    counts = np.zeros((len(names), len(classes)), dtype=np.int64)  # (sources, classes)
    np.add.at(counts, (group, labels), 1)
    if seen.all():  # nothing else can be held out
        seen = np.zeros_like(seen)
    free = np.bincount(group, weights=seen, minlength=len(names)) == 0
    cost = partial(_cost, counts=counts, fraction=fraction)
    outside = np.zeros(len(names), dtype=bool)
    outside[free] = _choose_groups(counts[free], cost, fraction, random)
    if not free.all() and _useless(outside @ counts, counts.sum(axis=0)):
        return _by_class(labels, seen, len(classes), fraction, random), (TORN, *few)
    held = np.flatnonzero(outside[group])
    return held, _notes_on_groups(classes, counts, outside, free)


def _useless(inside: NDArray[np.int64], totals: NDArray[np.int64]) -> bool:
    """Say whether what is held out is nothing, a whole class, or more than is left to train on."""
    return not inside.any() or bool((inside == totals).any()) or 2 * inside.sum() > totals.sum()


def held_of(count: int, fraction: float) -> int:
    """Say how many of a class are held out where no source ties specimens together: at least one, never all."""
    return min(max(round(fraction * count), 1), count - 1) if count else 0


def enough_for(held: int, fraction: float) -> int:
    """Say how many of a class must be labelled so that `held` of them are held out."""
    return next(count for count in range(held, 40 * held + 2) if held_of(count, fraction) >= held)


def _by_class(
    labels: Rows, seen: NDArray[np.bool_], n_classes: int, fraction: float, random: np.random.Generator
) -> Rows:
    """Hold out the share of each class, at least one and never all of two or more, from what is unseen."""
    held = []
    for place in range(n_classes):
        rows = random.permutation(np.flatnonzero(labels == place))
        fresh = rows[~seen[rows]]
        held.append((fresh if len(fresh) else rows)[: held_of(len(rows), fraction)])
    return np.sort(np.concatenate(held)) if held else np.empty(0, dtype=np.intp)


def _notes_on_few(
    classes: tuple[str, ...], labels: Rows, seen: NDArray[np.bool_], fraction: float
) -> tuple[str, ...]:
    """Say of which classes all that is unseen is held out, and is too little even so: nothing new is learnt."""
    few = []
    for place, name in enumerate(classes):
        fresh = int((~seen[labels == place]).sum())
        if 0 < fresh < held_of(int((labels == place).sum()), fraction):
            few.append(f"{name} ({fresh:,})")
    if not few:
        return ()
    return (
        f"The classifier to start from has seen all but a few specimens of {', '.join(few)}. These few are held "
        f"out, so nothing is learnt from them: label more.",
    )


def _cost(inside: NDArray[Any], counts: NDArray[np.int64], fraction: float) -> Floats:
    """Cost of splits that hold out `inside` (..., classes) specimens of each class.

    A class that two sources hold and one side lacks costs most; then a class that only one source holds and
    that is missing for training; then the distance from the wanted share of each class, relative to the class.
    """
    totals = counts.sum(axis=0)
    several = (counts > 0).sum(axis=0) > 1
    missing = (inside == 0) | (inside == totals)
    lost = ~several & (inside == totals)
    distance = ((inside / np.maximum(totals, 1) - fraction) ** 2).sum(axis=-1)
    cost: Floats = 1e6 * (missing & several).sum(axis=-1) + 1e3 * lost.sum(axis=-1) + distance
    return cost


def _choose_groups(
    counts: NDArray[np.int64], cost: Callable[..., Floats], fraction: float, random: np.random.Generator
) -> NDArray[np.bool_]:
    """Choose the sources to hold out: all ways tried for a few sources, else the best of several descents."""
    groups = len(counts)
    if groups <= EXHAUSTIVE:
        ways = np.array(list(product((False, True), repeat=groups)), dtype=bool)
        ways = ways[random.permutation(len(ways))]  # among equals, the seed decides
        best: NDArray[np.bool_] = ways[np.argmin(cost((ways @ counts).astype(float)))]
        return best
    starts = [random.random(groups) < fraction for _ in range(8)]
    found = [_descend(start, counts, cost) for start in starts]
    return min(found, key=lambda way: float(cost((way @ counts).astype(float))))


def _descend(way: NDArray[np.bool_], counts: NDArray[np.int64], cost: Callable[..., Floats]) -> NDArray[np.bool_]:
    """Move one source at a time to the other side, the best move first, while that helps."""
    way = way.copy()
    inside = (way @ counts).astype(float)
    now = float(cost(inside))
    for _ in range(400):
        moved = inside + np.where(way, -1, 1)[:, None] * counts  # (sources, classes)
        costs = cost(moved)
        move = int(np.argmin(costs))
        if costs[move] >= now - 1e-12:
            break
        way[move] = ~way[move]
        inside, now = moved[move], float(costs[move])
    return way


def _notes_on_groups(
    classes: tuple[str, ...], counts: NDArray[np.int64], outside: NDArray[np.bool_], free: NDArray[np.bool_]
) -> tuple[str, ...]:
    notes = []
    inside = outside @ counts
    for place, name in enumerate(classes):
        total, sources = int(counts[:, place].sum()), int((counts[:, place] > 0).sum())
        if 0 < inside[place] < total:
            continue
        side = "held-out" if inside[place] == 0 else "training"
        if sources == 1:
            why = "all its specimens come from one source"
        elif not counts[free, place].any():
            why = "the classifier to start from has seen specimens of all its sources"
        else:
            why = "no split that keeps sources together has every class on both sides"
        notes.append(f"There is no {name} among the {side} specimens: {why}.")
    return tuple(notes)


def _notes_on_sides(manifest: Manifest, free: Rows, validation: Rows) -> tuple[str, ...]:
    names = manifest.table["label"].to_numpy()
    train = set(names[np.setdiff1d(free, validation)])
    held = set(names[validation])
    notes = [
        f"There is no {name} among the validation specimens that the manifest marks."
        for name in sorted(train - held)
    ]
    notes += [
        f"There is no {name} among the training specimens that the manifest marks."
        for name in sorted(held - train)
    ]
    shared = note_on_sources(manifest.rows(np.setdiff1d(free, validation)), manifest.rows(validation))
    return (*notes, shared) if shared else tuple(notes)
