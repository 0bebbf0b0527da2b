"""What a session is helped by: which rows are of one file, their table, their list."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_ctc.data.manifest import COLUMNS, Manifest
from napari_ctc.data.specimens import Layout, split_key
from napari_ctc.gui.rows import NOT_KNOWN

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_ctc.data.stacks import SpecimenStack


def absolute_keys(manifest: Manifest) -> list[str]:
    """Return the keys of a manifest as whole paths, alike for one file however it was opened."""
    root = str(manifest.root.absolute())
    join, tidy = os.path.join, os.path.normpath  # a Path for each of 100,000 keys would take a second
    return [tidy(join(root, key)) for key in manifest.keys]


def paths_of(manifests: Sequence[Manifest], owner: NDArray[np.integer], places: NDArray[np.integer]) -> list[str]:
    """Name the file of each row of manifests; `owner` and `places` as of `joined_table`."""
    keys = {one: manifests[one].keys for one in np.unique(owner).tolist()}
    roots = [str(manifest.root) for manifest in manifests]
    wanted = zip(owner.tolist(), places.tolist(), strict=True)
    return [os.path.join(roots[one], split_key(keys[one][place])[0]) for one, place in wanted]  # noqa: PTH118 - as above


def file_codes(manifests: Sequence[Manifest]) -> NDArray[np.int64]:
    """Give the rows of manifests, one below the other, a number for each file."""
    if len(manifests) < 2:
        return np.arange(sum(map(len, manifests)), dtype=np.int64)
    keys = [key for manifest in manifests for key in absolute_keys(manifest)]
    return pd.factorize(np.array(keys, dtype=object))[0].astype(np.int64)


def labels_by_file(
    files: NDArray[np.int64], labels: NDArray[np.int16], which: NDArray[np.integer]
) -> NDArray[np.int16]:
    """Fill up labels from other rows of the same file, among those at `which`; a row's own comes first."""
    labelled = which[labels[which] != NOT_KNOWN]
    by_file = np.full(int(files.max(initial=0)) + 1, NOT_KNOWN, np.int16)
    by_file[files[labelled]] = labels[labelled]
    return np.where(labels == NOT_KNOWN, by_file[files], labels)


def joined_table(
    manifests: Sequence[Manifest], owner: NDArray[np.integer], places: NDArray[np.integer]
) -> pd.DataFrame:
    """Take rows of manifests as one table, their paths whole where the manifests lie in different folders.

    Parameters
    ----------
    owner, places : (n,) integers
        Of each row wanted: its manifest, and its place therein.
    """
    used = np.unique(owner)
    roots = {manifests[one].root for one in used}
    tables, order = [], []
    for one in used:
        rows = np.flatnonzero(owner == one)
        table = manifests[one].table.iloc[places[rows]]
        if len(roots) > 1:
            table = table.assign(path=[(manifests[one].root / key).as_posix() for key in table["path"]])
        tables.append(table[list(COLUMNS)])
        order.append(rows)
    joined = pd.concat(tables, ignore_index=True).astype("str")
    return joined.iloc[np.argsort(np.concatenate(order))].reset_index(drop=True)


def joined_manifest(
    manifests: Sequence[Manifest],
    owner: NDArray[np.integer],
    places: NDArray[np.integer],
    labels: NDArray[np.object_],
    codes: NDArray[np.int16],
    authors: NDArray[np.object_],
    notes: tuple[str, ...],
) -> Manifest:
    """Take rows of manifests as one manifest, with the labels that they have now.

    Parameters
    ----------
    owner, places : (n,) integers
        As of `joined_table`.
    labels : array of text
        The class names, and last the word for none.
    codes : (n,) int16
        Places in `labels`.
    authors : (n,) texts
        Who gave the labels.
    notes : tuple of str
    """
    used = [manifests[place] for place in dict.fromkeys(owner.tolist())]
    if not used:
        return Manifest(pd.DataFrame({name: [] for name in COLUMNS}, dtype="str"), Path.cwd())
    table = joined_table(manifests, owner, places)
    table = table.assign(label=labels[codes], by=authors).astype("str")
    layout = used[0].layout
    if len({one.layout.axis for one in used}) > 1:
        layout = Layout(layout.channels, "auto")
    return Manifest(table, used[0].root, layout, notes, used[0].file if len(used) == 1 else None)


class Specimens(Sequence[tuple["SpecimenStack", int]]):
    """The open specimens in order, each looked up when it is asked for."""

    def __init__(self, count: int, locate: Callable[[int], tuple[SpecimenStack, int]]) -> None:
        self._count, self._locate = count, locate

    def __len__(self) -> int:
        """Return the number of specimens."""
        return self._count

    def __getitem__(self, index: Any) -> Any:
        """Return one as its stack and its place therein, or a list of them for a slice."""
        if isinstance(index, slice):
            return [self._locate(one) for one in range(*index.indices(self._count))]
        return self._locate(range(self._count)[index])
