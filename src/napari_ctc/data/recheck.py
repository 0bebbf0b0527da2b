"""Look again at specimens that were labelled: one may be gone, or its file may hold another one by now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_ctc.data.files import is_file
from napari_ctc.data.specimens import Layout, content_digest, read_specimen, split_key
from napari_ctc.errors import SpecimenError
from napari_ctc.events import Event, Job


@dataclass(frozen=True)
class Rechecked:
    """Which labelled specimens are no longer what was labelled.

    Parameters
    ----------
    missing : tuple of str
        Keys whose file is gone or cannot be read.
    rewritten : tuple of str
        Keys whose pixels are others than when they were labelled.
    """

    missing: tuple[str, ...] = ()
    rewritten: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """What to tell a person; empty if all is well."""
        parts = []
        if self.missing:
            parts.append(f"{_specimens(self.missing)}: gone or unreadable")
        if self.rewritten:
            parts.append(f"{_specimens(self.rewritten)}: rewritten since, so look again")
        return f"{'; '.join(parts)}. The labels are kept." if parts else ""


def recheck(
    keys: Sequence[str], digests: Mapping[str, str], root: Path, layout: Layout = Layout()
) -> Job[Rechecked]:
    """Compare labelled specimens with what they were.

    Parameters
    ----------
    keys : sequence of str
        The labelled specimens.
    digests : mapping of keys to str
        `content_digest` when they were labelled; of a specimen without one, only whether it is there is told.
    root : Path
        The manifest's folder.
    layout : Layout

    Yields
    ------
    Event
        After each specimen.
    """
    missing, rewritten = [], []
    for done, key in enumerate(keys, 1):
        name, index = split_key(key)
        if key not in digests:
            if not is_file(root / name):
                missing.append(key)
        else:
            try:
                if content_digest(read_specimen(root / name, index, layout)) != digests[key]:
                    rewritten.append(key)
            except SpecimenError:
                missing.append(key)
        yield Event(done=done, total=len(keys))
    return Rechecked(tuple(missing), tuple(rewritten))


def _specimens(keys: Sequence[str]) -> str:
    names = ", ".join(keys[:3]) + (" and others" if len(keys) > 3 else "")
    return f"{len(keys):,} labelled specimen{'s' if len(keys) > 1 else ''} ({names})"
