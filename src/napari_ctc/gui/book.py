"""A table of labels that is open in the window: its journal, and the specimens it speaks of.

What is done with the journal is done in one thread, for all windows: so no disk holds a window up, and a table
that is being closed here can be opened there the next moment.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from napari_ctc.data.journal import Journal
from napari_ctc.data.manifest import rebase
from napari_ctc.data.specimens import content_digest
from napari_ctc.errors import CTCError, SpecimenError

if TYPE_CHECKING:
    from napari_ctc.data.labels import Label
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
    keys : dict of int to (str, Manifest, int)
        Of each open specimen by its id: its key in the table, and where its pixels are.
    ids : dict of str to list of int
        The way back; a file may be open twice.
    """

    path: Path
    journal: Journal | None = None
    problem: str = ""
    keys: dict[int, tuple[str, Manifest, int]] = field(default_factory=dict)
    ids: dict[str, list[int]] = field(default_factory=dict)

    def hold(self, manifest: Manifest, ids: Iterable[int]) -> None:
        """Add the specimens of a manifest, with their ids in the window."""
        keys, ids = rebase(manifest.keys, manifest.root, self.path.parent), list(ids)
        self.keys.update(zip(ids, zip(keys, repeat(manifest), range(len(keys)), strict=False), strict=True))
        once = {key: [identity] for key, identity in zip(keys, ids, strict=True)}
        if len(once) == len(keys) and self.ids.keys().isdisjoint(once):
            self.ids |= once  # the window waits for this, so 100,000 are not added one by one
            return
        for key, identity in zip(keys, ids, strict=True):
            self.ids.setdefault(key, []).append(identity)

    @property
    def refusal(self) -> str:
        """Why no label can be given; empty if one can."""
        if self.journal is None:
            return self.problem or f"{self.path.name} is still being opened."
        return self.journal.read_only

    def known(self) -> dict[int, Label]:
        """Give what the table and its journal say of the specimens that they name."""
        if self.journal is None:
            return {}
        history = self.journal.history
        return {
            identity: history.label_of(key)
            for key, ids in self.ids.items()
            if key in history.given or key in history.table
            for identity in ids
        }

    @property
    def sources(self) -> dict[str, str]:
        """The slide, patient or run of each specimen that has one."""
        found: dict[str, str] = {}
        for manifest in {id(manifest): manifest for _, manifest, _ in self.keys.values()}.values():
            keys = rebase(manifest.keys, manifest.root, self.path.parent)
            found |= {key: source for key, source in zip(keys, manifest.table["source"], strict=True) if source}
        return found


def in_turn(work: Callable[[], Any]) -> Future[Any]:
    """Do something with a journal, after whatever was begun before."""
    return _thread.submit(work)


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
