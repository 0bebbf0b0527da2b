"""Read a table of which nothing is odd column by column: 100,000 rows take a fifth of the time of one by one.

What is odd in any way (a cell too many, a path that is written otherwise than it is kept, a specimen named twice)
is left to `tables`, which looks at each row and says on which line what is wrong.
"""

from __future__ import annotations

import csv
import io
from itertools import islice

from napari_ctc.data.formats import READERS
from napari_ctc.data.specimens import split_key

_ODD = ("\n.", "/.", "//", "/\n")  # a hidden name, ".", "..", or an empty part of a path
_AT_ONCE = (
    500  # rows: were 100,000 kept, Python would look through all its objects, and the window would stand still
)
_SUFFIXES = {suffix.removeprefix(".") for suffix in READERS}


def plain_columns(text: str, delimiter: str, home: str) -> dict[str, list[str]] | None:
    """Read the columns of a table by their names; None for a table that has to be looked at row by row.

    Parameters
    ----------
    text : str
    delimiter : str
    home : str
        The table's folder with a slash behind it: paths below it are given without it.

    Returns
    -------
    dict of str to list of str, or None
        The names in lower case; under `path` the keys, each once.
    """
    text = text.replace("\r\n", "\n")
    if "\r" in text or f"{home}/" in text:  # other line ends; a slash too many behind the folder
        return None
    columns: list[list[str]] = []
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    try:
        while rows := list(islice(reader, _AT_ONCE)):
            columns = columns or [[] for _ in rows[0]]
            if set(map(len, rows)) != {len(columns)}:
                return None
            for column, cells in zip(columns, zip(*rows, strict=True), strict=True):
                column.extend(map(str.strip, cells))
    except csv.Error:
        return None
    if not columns or len(columns[0]) < 2:
        return None
    found = {column[0].lower(): column[1:] for column in columns}
    if len(found) < len(columns) or "path" not in found:
        return None
    if home in text:
        found["path"] = [key.removeprefix(home) for key in found["path"]]
    return found if _plain(found["path"]) else None


def _plain(keys: list[str]) -> bool:
    """Tell whether these are the keys of specimens, each once, written as they are kept."""
    if len(set(keys)) < len(keys):
        return False
    together = "\n".join(keys)
    lines = f"\n{together}\n"
    files = [split_key(key)[0] for key in keys] if "#" in together else keys
    return (
        {ending.lower() for ending in {file.rpartition(".")[2] for file in files}} <= _SUFFIXES
        and "\\" not in together
        and together.count("\n") == len(keys) - 1
        and not any(part in lines for part in _ODD)  # an expression would take ten times as long
    )
