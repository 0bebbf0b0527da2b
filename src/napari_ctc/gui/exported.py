"""What the window shows as one table of predictions, which every export starts from.

How such a table is written is in `data.predictions` and `data.exports`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from napari_ctc.data.predictions import READ_AS, Predictions, columns, typed
from napari_ctc.gui.rows import Status
from napari_ctc.gui.session_parts import labels_by_file
from napari_ctc.gui.speakers import is_instant

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_ctc.gui.session import Session


def predictions_of(session: Session, indices: NDArray[np.integer] | None = None) -> Predictions:
    """Return what is said of the open specimens, or of some, by whoever is shown; a file once.

    A stale prediction goes out as none, with the reason as its error: it is no word of this classifier. The column
    `classifier` says whose words they are: a digest, or the instant head and how many labels and features it has.
    Specimens with another number of channels than the first are left out, with a note.
    """
    asked = np.arange(len(session)) if indices is None else np.asarray(indices)
    shown = asked[session.fits_first(asked)]
    wanted = session.each_once(shown)
    manifest = session.manifest(wanted)
    table = _table(session, wanted).assign(path=manifest.keys, split=manifest.table["split"].to_numpy())
    if len(wanted) < len(shown):  # what a person said of a file may stand in another of its rows
        codes = labels_by_file(session.files, session.rows.label, shown)[wanted]
        table["label"] = _names(session)[codes]
    classes = session.words.classes
    notes: tuple[str, ...] = ()
    if left := len(asked) - len(shown):
        notes = (
            f"Left out: {left:,} with another number of channels than the first. Show them alone to export them.",
        )
    return Predictions(typed(table, classes), manifest.root, classes, notes=notes)


def _table(session: Session, wanted: NDArray[np.integer]) -> pd.DataFrame:
    """Make the table, `path` and `split` still missing; only what is current goes out as a prediction."""
    rows, words = session.rows, session.words
    status, speaker, head = words.status[wanted], words.speaker, is_instant(words.speaker)
    current = status == Status.CURRENT
    # Of a file that the classifier could not read, it is said which one tried, and to read what.
    said = current | ((status == Status.FAILED) & session.by_classifier[wanted] & (not head))
    reasons = np.full(len(wanted), "", dtype=object)
    for place in np.flatnonzero((status == Status.STALE) | (status == Status.FAILED)):
        reasons[place] = session.reason(int(wanted[place]), int(status[place]))
    origin = "" if speaker is None else speaker.name if head else speaker.digest
    of_file = said & (not head)  # the head knows a specimen's measurements, not the state of its file
    read_as = {} if speaker is None else speaker.described()
    data = {
        "source": rows.source[wanted],
        "predicted": np.where(current, _names(session)[words.predicted[wanted]], ""),
        "probability": np.where(current, words.probability[wanted], np.nan),
        "label": _names(session)[rows.label[wanted]],
        "error": reasons,
        "classifier": np.where(said, origin, ""),
        "precision": np.where(of_file, rows.precision[wanted], ""),
        "bytes": pd.Series(rows.bytes[wanted], dtype="Int64").mask(~of_file | (rows.bytes[wanted] < 0)),
        "modified": np.where(of_file, rows.modified[wanted], ""),
        "sha256": np.where(of_file, rows.sha256[wanted], ""),
        **{name: np.where(said, read_as.get(name, ""), "") for name in READ_AS},
    }
    probabilities = np.where(current[:, None], words.probabilities[wanted], np.nan)
    data |= {f"p_{name}": probabilities[:, place] for place, name in enumerate(words.classes)}
    return pd.DataFrame(data | {"path": "", "split": ""})[columns(words.classes)]


def _names(session: Session) -> NDArray[np.object_]:
    return np.array([*session.classes, ""], dtype=object)
