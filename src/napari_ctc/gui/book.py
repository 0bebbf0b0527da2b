"""A table of labels that is open in the window: its journal, and the specimens it speaks of.

What is done with the journal is done in one thread, for all windows: so no disk holds a window up, and a table
that is being closed here can be opened there the next moment.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_ctc.data.journal import Journal
from napari_ctc.data.labels import Label
from napari_ctc.data.manifest import rebase
from napari_ctc.data.specimens import content_digest
from napari_ctc.errors import CTCError, SpecimenError
from napari_ctc.gui.held import Held

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_ctc.data.manifest import Manifest

_DIGESTING = 0.2  # seconds that a label waits at most for the digests of many specimens labelled at once

_thread = ThreadPoolExecutor(1, thread_name_prefix="napari-ctc labels")


@dataclass
class Book:
    """One table of labels.

    Parameters
    ----------
    path : Path
        The table. It need not exist.
    journal : Journal or None
        None until it is open, and where it cannot be opened.
    problem : str
        Why it could not be opened.
    held : list of Held
        The open specimens that it speaks of; a file may be open twice.
    """

    path: Path
    journal: Journal | None = None
    problem: str = ""
    held: list[Held] = field(default_factory=list)

    def hold(self, manifest: Manifest, first: int) -> None:
        """Add the specimens of a manifest; in the window they have the ids from `first` on."""
        self.held.append(Held(manifest, rebase(manifest.keys, manifest.root, self.path.parent), first))

    def __contains__(self, identity: int) -> bool:
        """Tell whether it speaks of the open specimen with this id."""
        return any(identity in one for one in self.held)

    def specimen(self, identity: int) -> tuple[str, Manifest, int]:
        """Give the key in the table of the open specimen with this id, and where its pixels are."""
        one = next(one for one in self.held if identity in one)
        row = identity - one.first
        return one.keys[row], one.manifest, row

    def ids_of(self, key: str) -> list[int]:
        """Give the ids of the open specimens under a key; none where it is not open."""
        return [identity for one in self.held for identity in one.ids_of(key)]

    @property
    def ids(self) -> NDArray[np.int64]:
        """The ids of all its open specimens."""
        return np.concatenate([np.zeros(0, np.int64), *(one.ids for one in self.held)])

    @property
    def files(self) -> tuple[list[str], NDArray[np.int64]]:
        """The keys of its open specimens, each once, and an id of each."""
        if len(self.held) == 1 and not self.held[0].repeats:
            return self.held[0].keys, self.ids
        ids: dict[str, int] = {}
        for one in self.held:
            for key, identity in zip(one.keys, one.ids.tolist(), strict=True):
                ids.setdefault(key, identity)
        return list(ids), np.fromiter(ids.values(), np.int64, len(ids))

    @property
    def refusal(self) -> str:
        """Why no label can be given; empty if one can."""
        if self.journal is None:
            return self.problem or f"{self.path.name} is still being opened."
        return self.journal.read_only

    def known(self) -> tuple[NDArray[np.int64], list[Label]]:
        """Give the ids of the specimens that the table or its journal name, and what they say of them."""
        if self.journal is None:
            return np.zeros(0, np.int64), []
        given, table = self.journal.history.given, self.journal.history.table
        said = table | given if given else table
        ids, labels = [np.zeros(0, np.int64)], []
        for one in self.held if said else ():
            found = list(map(said.get, one.keys))
            known = np.array([label is not None for label in found], bool)
            ids.append(one.ids[known])
            labels += found if known.all() else [label for label in found if label is not None]
        return np.concatenate(ids), labels

    @property
    def sources(self) -> dict[str, str]:
        """The slide, patient or run of each specimen that has one."""
        found: dict[str, str] = {}
        for one in self.held:
            sources = one.manifest.table["source"]
            found |= {key: source for key, source in zip(one.keys, sources, strict=True) if source}
        return found


def in_turn(work: Callable[[], Any]) -> Future[Any]:
    """Do something with a journal, after whatever was begun before."""
    return _thread.submit(work)


def take_along(labelled: Manifest, unsure: Manifest, classes: Mapping[str, str], path: Path) -> tuple[str, ...]:
    """Bring what is said of specimens into another table; where that says otherwise, it gives way.

    Parameters
    ----------
    labelled, unsure : Manifest
        Those that have a label, and those of which a person could not tell.
    classes : mapping of names to ``#rrggbb``
        In the order of their keys; for a table of which nobody listed any.
    path : Path
        The other table. It need not exist.

    Returns
    -------
    tuple of str
        Sentences on what became of it, and on what was not taken along.

    Raises
    ------
    CTCError
        If it cannot be written.
    """
    if not path.exists() and len(labelled):
        labelled.write(path)  # who gave each label goes along, and the sources
    keys = rebase(labelled.keys, labelled.root, path.parent)
    table = labelled.table
    said = {key: Label(name, by=by) for key, name, by in zip(keys, table["label"], table["by"], strict=True)}
    said |= dict.fromkeys(rebase(unsure.keys, unsure.root, path.parent), Label(unsure=True))
    with Journal(path) as journal:
        if journal.read_only:
            raise CTCError(journal.read_only)
        if classes and not journal.history.listed:
            journal.set_classes(list(classes), classes)
        # In a journal they would be a person's.
        theirs = {key for key, label in said.items() if label.by == "classifier"}
        left = sum(not said[key].says(journal.history.label_of(key)) for key in theirs)
        changes = journal.take_over({key: label for key, label in said.items() if key not in theirs})
        folded = journal.fold(dict(zip(keys, table["source"], strict=True)))
    otherwise = sum(bool(change.was.name or change.was.unsure) for change in changes)
    notes = folded.notes
    if otherwise:
        notes += (f"It said otherwise of {_many(otherwise, 'specimen')}: what was shown here counts.",)
    if left:
        notes += (f"Not taken along: {_many(left, 'label')} by a classifier.",)
    return notes


def _many(count: int, word: str) -> str:
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def digests_of(specimens: Iterable[tuple[str, Manifest, int]]) -> tuple[dict[str, str], str]:
    """Digest specimens that are labelled, as far as there is time.

    Returns
    -------
    digests : dict of str to str
    problem : str
        Why one of them cannot be read, if so.
    """
    found: dict[str, str] = {}
    problem, end = "", monotonic() + _DIGESTING
    for key, manifest, place in specimens:
        try:
            found[key] = content_digest(manifest.specimen(place))
        except SpecimenError as error:
            problem = f"{key} is labelled, but it cannot be read any more: {error}"
        if monotonic() > end:
            break
    return found, problem


def close(journal: Journal, book: Book) -> None:
    """Fold a journal into its table and let it go; what cannot be written stays in the journal."""
    try:
        try:
            if not journal.read_only:
                journal.fold(book.sources)
        finally:
            journal.close()
    except CTCError as problem:
        logging.getLogger(__name__).warning("%s", problem)
