"""Read the CSV form of a manifest, and say on which line what is wrong.

What the table is good for is in `manifest`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from napari_ctc.data.formats import READERS, is_specimen_file
from napari_ctc.data.plain_tables import plain_columns
from napari_ctc.data.specimens import split_key
from napari_ctc.errors import ManifestError

AUTHORS = ("", "person", "classifier")
COLUMNS = ("path", "label", "source", "split", "by")
SPLITS = {
    "": "",
    "train": "train",
    "training": "train",
    "validation": "validation",
    "val": "validation",
    "test": "test",
}

DELIMITERS = ",;\t"

_FIRST_ROW = re.compile(r'\s*((?:"[^"]*"|[^\r\n])*)')  # that holds anything
_QUOTED = re.compile(r'"[^"]*"')
_ODD = re.compile(r"(?:^|/)\.{0,2}(?:/|$)")  # an empty part of a path, "." or ".."


def table_of(path: Path, text: str) -> tuple[dict[str, list[str]], list[str] | None, tuple[str, ...]]:
    """Take a table apart and check it.

    Returns
    -------
    columns : dict of str to list of str
        Those in `COLUMNS`, of one length.
    header : list of str, or None
        The names of its columns in lower case, where it has them.
    notes : tuple of str

    Raises
    ------
    ManifestError
        With the line, if the table cannot be used.
    """
    home = f"{path.parent.absolute().as_posix().rstrip('/')}/"  # whole paths below it count as relative ones
    found = plain_columns(text, delimiter_of(text), home)
    if found is not None:
        blank = [""] * len(found["path"])
        columns = {name: found.get(name, blank) for name in COLUMNS}
        if set(columns["split"]) <= set(SPLITS.values()) and set(columns["by"]) <= set(AUTHORS):
            return columns, list(found), ()
    rows, header = rows_of(path, text)
    columns, notes = checked_columns(path, rows, header)
    return columns, header, notes


def frame_of(columns: dict[str, list[str]]) -> pd.DataFrame:
    """Give checked columns as a data frame of text."""
    return pd.DataFrame(columns, columns=list(COLUMNS), dtype="str")


def read_content(path: Path) -> bytes:
    """Read a table's bytes."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ManifestError(f"{path} does not exist. Choose a manifest (.csv) or a folder of specimens.") from None
    except OSError as problem:
        raise ManifestError(f"{path.name} cannot be read: {problem.strerror}. Check its rights.") from problem


def text_of(path: Path, content: bytes) -> str:
    """Decode a table, each line end as it stands."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ManifestError(f"{path.name} is not a text file in UTF-8. Save the table as 'CSV UTF-8'.") from None
    if "\0" in text:
        raise ManifestError(f"{path.name} is not a text file: it holds zero bytes. Choose a manifest (.csv).")
    return text


def delimiter_of(text: str) -> str:
    """Tell what separates the cells, by the first row that holds anything; quoted text in it does not count."""
    first = _FIRST_ROW.match(text)
    return max(DELIMITERS, key=_QUOTED.sub("", first[1] if first else "").count)


def rows_of(path: Path, text: str) -> tuple[list[tuple[int, list[str]]], list[str] | None]:
    """Split a table's text into cells with their line numbers, and its header where it has one."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    try:
        reader = csv.reader(io.StringIO(text), delimiter=delimiter_of(text), strict=True)
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(map(str.strip, row))]
    except csv.Error as problem:
        raise ManifestError(
            f"{path.name}, line {reader.line_num}: {problem}. Check its quotation marks."
        ) from None
    if not rows:
        raise ManifestError(f"{path.name} is empty. A manifest needs the columns path,label and a row a specimen.")
    cells = [cell.lower() for cell in rows[0][1]]
    if "path" in cells:
        return rows[1:], cells
    if len(cells) <= 2 and is_specimen_file(split_key(rows[0][1][0])[0]):
        return rows, None
    raise ManifestError(
        f"{path.name}, line {rows[0][0]}: no column is called 'path'. A manifest needs a first line "
        f"'path,label' (and, if known, ',source,split'), or two columns without a header: file and label."
    )


def checked_columns(
    path: Path, rows: list[tuple[int, list[str]]], header: list[str] | None
) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    """Check every row; returns the columns and notes."""
    names = header or ["path", "label"]
    places = {name: names.index(name) for name in COLUMNS if name in names}
    if repeated := [name for name in COLUMNS if names.count(name) > 1]:
        raise ManifestError(f"{path.name}: the column '{repeated[0]}' stands twice. Keep one of them.")
    home = f"{path.parent.absolute().as_posix().rstrip('/')}/"  # whole paths below it count as relative ones
    seen: dict[str, tuple[int, str, str]] = {}
    values: dict[str, list[str]] = {name: [] for name in COLUMNS}
    repeats = 0
    for line, cells in rows:
        where = f"{path.name}, line {line}"
        if len(cells) != len(names) and not (header is None and len(cells) == 1):
            raise ManifestError(f"{where}: {len(cells)} columns where {len(names)} were expected.")
        row = {name: cells[place] if place < len(cells) else "" for name, place in places.items()}
        key, label = checked_key(row["path"], where).removeprefix(home), row.get("label", "")
        split = SPLITS.get(row.get("split", "").lower())
        if split is None:
            raise ManifestError(
                f"{where}: '{row['split']}' is no part of a split. Write train, validation, test, or nothing."
            )
        if key in seen:
            earlier, other, part = seen[key]
            if label != other:
                raise ManifestError(
                    f"{where}: {key} is called '{label}' here but '{other}' on line {earlier}. Keep one of them."
                )
            if split != part:
                raise ManifestError(
                    f"{where}: {key} is marked '{split}' here but '{part}' on line {earlier}. Keep one of them."
                )
            repeats += 1
            continue
        seen[key] = line, label, split
        by = row.get("by", "").lower()
        if by not in AUTHORS:
            raise ManifestError(
                f"{where}: by='{row['by']}' is neither person nor classifier. Write one, or nothing."
            )
        for name, value in {
            "source": "",
            **row,
            "path": key,
            "label": label,
            "split": split,
            "by": by,
        }.items():
            values[name].append(value)
    if not seen:
        raise ManifestError(f"{path.name} names no specimen. It needs a row for each, under path,label.")
    twice = f"{path.name}: named more than once, and counted once: {repeats:,} of the specimens."
    notes = (twice,) if repeats else ()
    return values, notes


def classes_of(labels: Iterable[str]) -> tuple[str, ...]:
    """Give the class names among labels, in order: by number where all are numbers, else by the alphabet."""
    names = [name for name in dict.fromkeys(labels) if name]
    try:
        numbers = [float(name) for name in names]
    except ValueError:
        return tuple(sorted(names))
    if not np.isfinite(numbers).all():  # a class called "nan" has no place among numbers
        return tuple(sorted(names))
    return tuple(name for _, name in sorted(zip(numbers, names, strict=True)))


def written_key(key: str) -> str:
    """Write a key so that `checked_key` reads it again: where a cell would not keep it, it begins with "./"."""
    changed = key != key.strip() or ("\\" in key and "/" not in key)  # such names come out of archives of Windows
    return f"./{key}" if changed else key


def checked_key(text: str, where: str) -> str:
    """Check the cell that names a specimen, and give its key with forward slashes."""
    if not text:
        raise ManifestError(f"{where}: the path is empty. Name the specimen's file.")
    key = text.replace("\\", "/") if "\\" in text and "/" not in text else text
    name, _ = split_key(key)
    if not is_specimen_file(name):
        raise ManifestError(f"{where}: {text} is not a file of a known format ({', '.join(READERS)}).")
    if not _ODD.search(key):  # most keys are plain, and a path object for each of 100,000 takes a second
        return key
    if ".." in PurePosixPath(name).parts:
        raise ManifestError(
            f"{where}: {text} leads out of the manifest's folder. Write a path below it, or the whole path."
        )
    return str(PurePosixPath(key)) if "/" in key else key
