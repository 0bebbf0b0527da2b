"""Labels that stand in a journal and not in its table yet.

So it is while a window has them open, after one was killed, and where the table could not be written. Whoever
reads the table is to know them all the same.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from napari_ctc.data.history import History
from napari_ctc.data.journal_file import journal_path
from napari_ctc.data.labels import LabelTable
from napari_ctc.data.lines import read_lines
from napari_ctc.data.specimens import split_key
from napari_ctc.data.tables import COLUMNS
from napari_ctc.errors import JournalError

if TYPE_CHECKING:
    import pandas as pd


def history_of(table: Path) -> History:
    """Replay the journal of a table of labels, the table left aside; damaged lines are passed over.

    Raises
    ------
    JournalError
        If it is there and cannot be read.
    """
    history = History(LabelTable())
    for _, entry in read_lines(journal_path(table)).entries:
        with suppress(KeyError, TypeError, ValueError):
            history.apply(entry)
    return history


def with_unfolded(frame: pd.DataFrame, table: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Bring the rows of a table up to what its journal says.

    Parameters
    ----------
    frame : pandas.DataFrame
        The columns of a manifest, as the table has them; without a row where there is no table yet.
    table : Path

    Returns
    -------
    frame : pandas.DataFrame
        The same if nothing is missing in it. Specimens that it does not name come last.
    notes : tuple of str
    """
    journal = journal_path(table).name
    try:
        pending = history_of(table).pending
    except JournalError as problem:
        return frame, (f"{problem} Labels that {table.name} does not have yet are not used.",)
    label = frame["label"].set_axis(frame["path"])
    names = {key: one.name for key, one in pending.items() if one.name != label.get(key, "")}
    names = {key: name for key, name in names.items() if key in label or _is_there(table.parent, key)}
    if not names:
        return frame, ()
    rows = frame.set_index("path")
    new = [key for key in names if key not in rows.index]
    rows = rows.reindex([*rows.index, *new], fill_value="")
    rows.loc[list(names), ["label", "by"]] = [[name, ""] for name in names.values()]
    count = (
        f"{len(names):,} labels that {table.name} does not have yet are"
        if len(names) > 1
        else (f"One label that {table.name} does not have yet is")
    )
    return rows.reset_index()[list(COLUMNS)].astype("str"), (f"{count} taken from {journal}.",)


def _is_there(folder: Path, key: str) -> bool:
    return (folder / split_key(key)[0]).exists()
