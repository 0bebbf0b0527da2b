"""Bring a journal and a manifest together that somebody else has changed: by specimen, losing neither side."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from napari_ctc.data.history import History
from napari_ctc.data.labels import Label, LabelTable
from napari_ctc.data.specimens import split_key


def merge(history: History, table: LabelTable, manifest: Path) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """Compare what the journal gave, what the manifest said when both last agreed, and what it says now.

    A specimen that only one side has changed follows that side. Where both have, the journal's label stands and
    the other is kept in the entry. A label given here that is gone without another in its place is put back: a
    stale copy saved over the table looks the same as a label taken away, and work is not to be lost.

    Returns
    -------
    entries : list of dict
        To be added to the journal.
    notes : tuple of str
        What happened, with counts.
    """
    entries: list[dict[str, Any]] = []
    counts: Counter[str] = Counter()
    for key, ours in history.given.items():
        base, theirs = history.base[key], table.labels.get(key, Label())
        if theirs.name in (ours.name, base.name):
            continue
        kept = "ours"
        if not ours.says(base):
            counts["both"] += 1
        elif theirs.name:
            kept = "theirs"
            counts["theirs"] += 1
        elif (manifest.parent / split_key(key)[0]).exists():
            counts["back"] += 1
        else:  # specimen and row are gone together
            continue
        entries.append(
            {"entry": "merged", "key": key, "label": ours.name, "theirs": theirs.name, "kept": kept}
            | ({"unsure": True} if ours.unsure else {})
        )
    name = manifest.name
    sentences = {
        "theirs": f"{name}: {_many(counts['theirs'])} changed there since, and taken over.",
        "back": f"{name}: {_many(counts['back'])} given here and gone there, and put back.",
        "both": f"{name}: {_many(counts['both'])} changed here and there. The one given here counts; "
        f"the other is kept in the journal.",
    }
    return entries, tuple(text for kind, text in sentences.items() if counts[kind])


def _many(count: int) -> str:
    return f"{count:,} label was" if count == 1 else f"{count:,} labels were"
