"""Deal specimens into folds for cross-validation: each is held out once, together with its kin.

Kin are the specimens of one source, and copies: the same pixels under whatever names. A classifier that has seen
one of them has half seen the other, so a split between them promises too much. Where copies tie most sources
together, sources alone are kept whole, and copies of what is held out must be left out of the training
(`without_copies`). A single split is in `splits`.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_ctc.data.splits import Rows, split
from napari_ctc.errors import SettingsError

if TYPE_CHECKING:
    from napari_ctc.data.manifest import Manifest
    from napari_ctc.data.splits import Split

Texts = Sequence[str] | NDArray[Any]


@dataclass(frozen=True)
class Folds:
    """Rows of a manifest, dealt into folds.

    Parameters
    ----------
    held : tuple of (n,) integers
        The rows that each fold holds out, ascending: disjoint, and together all that are labelled and not marked
        test.
    notes : tuple of str
        What could not be had, in sentences.
    """

    held: tuple[Rows, ...]
    notes: tuple[str, ...] = ()


def folds(manifest: Manifest, n: int = 5, seed: int = 0, digests: Texts = ()) -> Folds:
    """Deal the labelled specimens of a manifest into folds of about equal size and equal shares of each class.

    Parameters
    ----------
    manifest : Manifest
        Unlabelled rows and rows marked `test` are in no fold; the marks `train` and `validation` are passed over,
        since each specimen is held out once.
    n : int
        How many folds; fewer are made of fewer groups of kin.
    seed : int
    digests : (rows,) of str, optional
        The digest of each specimen's pixels (`data.specimens.content_digest`), empty where it is not known.

    Returns
    -------
    Folds

    Raises
    ------
    SettingsError
        If there are no two groups to deal.

    Notes
    -----
    Groups of kin are the connected components of "of the same source" and "of the same pixels"; they are dealt by
    scikit-learn's ``StratifiedGroupKFold``. Where one such group would hold more than half of the specimens, and
    no source does, the groups are the sources: take `without_copies` of what is then trained on.
    """
    if n < 2:
        raise SettingsError(f"Cross-validation needs at least 2 folds, and {n} was asked for. Choose 2 or more.")
    table = manifest.table
    used = np.flatnonzero(((table["label"] != "") & (table["split"] != "test")).to_numpy())
    if len(used) < 2:
        raise SettingsError(
            f"{len(used)} specimens have a label and are not marked test, which is too few for folds. Label more."
        )
    part = manifest.rows(used)
    pixels = np.asarray(digests, dtype=object)[used] if len(digests) else np.full(len(used), "", dtype=object)
    group, notes = _groups(part, pixels)
    labels = part.labels(part.classes)
    possible = min(int(group.max()) + 1, int(np.bincount(labels).max()))
    if possible < 2:
        raise SettingsError("No class has two specimens, so none could be learnt and found. Label more of each.")
    if possible < n:
        notes.append(
            f"{possible} folds are made instead of {n}: there are no more groups of specimens that can be parted, "
            f"or no class has more specimens."
        )
        n = possible
    parts = [used[rows] for rows in _dealt(labels, group, n, seed)]
    notes += _notes(part.classes, labels, group, len(parts))
    largest = max(len(rows) for rows in parts)
    if largest > 2 * len(used) / len(parts):
        notes.append(
            f"The folds are unequal: the largest holds {largest} of {len(used)} specimens, since those of one "
            f"source, and copies, stay together."
        )
    return Folds(tuple(parts), tuple(notes))


def hold_out_kin(manifest: Manifest, fraction: float, seed: int, digests: Texts = ()) -> Split:
    """Split a manifest once, as `splits.split`, with copies kept together as well as sources.

    A copy that cannot be kept with its like is left out of the training side; it is in neither part.
    """
    pixels = np.asarray(digests, dtype=object) if len(digests) else np.full(len(manifest), "", dtype=object)
    group, _ = _groups(manifest, pixels)
    dealt = split(manifest.with_column("split", [""] * len(manifest)), fraction, seed, group)
    return replace(dealt, train=without_copies(dealt.train, dealt.validation, pixels))


def without_copies(rows: Rows, held: Rows, digests: NDArray[Any]) -> Rows:
    """Leave those out of `rows` that have the pixels of one of `held`.

    Parameters
    ----------
    rows, held : (n,) integers
        Rows of a manifest.
    digests : (rows of the manifest,) of str
        Empty where it is not known.
    """
    copies = np.isin(digests[rows].astype(str), digests[held].astype(str)) & (digests[rows] != "")
    kept: Rows = rows[~copies]
    return kept


def kin(*columns: NDArray[Any]) -> Rows:
    """Give rows one number that an equal text in any column ties together, directly or through others.

    Parameters
    ----------
    columns : (n,) text
        An empty text ties nothing.

    Returns
    -------
    (n,) integers, from 0
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    # Each row is joined to a node for its text in each column: rows with an equal text share that node.
    rows = nodes = len(columns[0])
    ends: list[tuple[Rows, Rows]] = []
    for column in columns:
        known = np.flatnonzero(column != "")
        names, place = np.unique(column[known], return_inverse=True)
        ends.append((known, nodes + place))
        nodes += len(names)
    start, end = (np.concatenate(side).astype(np.int32) for side in zip(*ends, strict=True))
    graph = coo_array((np.ones(len(start), np.int8), (start, end)), shape=(nodes, nodes))
    _, component = connected_components(graph, directed=False)
    group: Rows = np.unique(component[:rows], return_inverse=True)[1]
    return group


def _groups(manifest: Manifest, pixels: NDArray[Any]) -> tuple[Rows, list[str]]:
    """Group the kin; copies that tie too much together, or a single source, are no reason to refuse."""
    sources = manifest.table["source"].to_numpy(dtype=object)
    group, by_source = kin(sources, pixels), kin(sources)
    names = set(sources) - {""}
    on = manifest.table["source"].where(sources != "").groupby(pixels).transform("nunique").to_numpy()
    tying = np.flatnonzero((pixels != "") & (sources != "") & (on > 1))
    if len(tying) and _largest(group) > len(group) / 2 >= _largest(by_source):
        first = tying[pixels[tying] == pixels[tying[0]]][:2]
        return by_source, [
            f"{len(tying):,} specimens have copies on other sources, which tie most of the {len(names)} sources "
            f"together, for instance {' and '.join(manifest.keys[row] for row in first)}. Sources are held out "
            f"whole, and copies of what is held out are left out of the training."
        ]
    if group.any():
        return group, []
    group = kin(pixels)
    if not group.any():
        raise SettingsError("All specimens hold the same pixels, so there is nothing to tell apart.")
    return group, [
        f"All specimens come from one source ({', '.join(names)}), so its own specimens are held out: on another "
        f"source a classifier may do worse."
    ]


def _largest(group: Rows) -> int:
    return int(np.bincount(group).max())


def _dealt(labels: Rows, group: Rows, n: int, seed: int) -> list[Rows]:
    """Deal groups into at most n folds, none of them empty."""
    from sklearn.model_selection import StratifiedGroupKFold

    dealer = StratifiedGroupKFold(n, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        parts = [held for _, held in dealer.split(labels, labels, group)]
    return [np.sort(held) for held in parts if len(held)]


def _notes(classes: tuple[str, ...], labels: Rows, group: Rows, n: int) -> list[str]:
    """Say which classes some fold has to do without."""
    notes = []
    for place, name in enumerate(classes):
        groups = len(np.unique(group[labels == place]))
        count = int((labels == place).sum())
        if groups >= n:
            continue
        what = f"{count} specimens" if groups == count else f"{count} specimens in {groups} groups of kin"
        if groups == 1:
            notes.append(
                f"All specimens of '{name}' ({count}) are of one source or copies: when they are held out, "
                f"nothing is left to learn them from, and none can be found."
            )
        else:
            notes.append(f"'{name}' has {what}, fewer than the {n} folds: some folds have none to find.")
    return notes
