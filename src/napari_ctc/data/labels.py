"""What a person said of a specimen, and the table it is written into, whose form stays as the person made it.

A change touches the cells of its own row alone: every other byte of the table stays, byte order mark, line ends,
spaces and quotation marks included. When labels are written, and which, is decided in `journal`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from napari_ctc.data.tables import (
    DELIMITERS,
    checked_key,
    classes_of,
    delimiter_of,
    table_of,
    text_of,
    written_key,
)

_MARK = b"\xef\xbb\xbf"  # the byte order mark that Excel wants at the start of a CSV in UTF-8


@dataclass(frozen=True)
class Label:
    """What is said of one specimen.

    Parameters
    ----------
    name : str
        The class; empty for none.
    unsure : bool
        Somebody looked and could not tell. Recorded, never written into a table, never trained on.
    by : "", "person" or "classifier"
        Who gave it, as the table's column `by` has it; labels given in a journal are a person's.
    """

    name: str = ""
    unsure: bool = False
    by: str = ""

    def says(self, other: Label) -> bool:
        """Tell whether two labels say the same, whoever gave them."""
        return (self.name, self.unsure) == (other.name, other.unsure)


@dataclass(frozen=True)
class _Record:
    """One row of a table: its text with its line end, its cells, and its key (empty for header and blank rows)."""

    text: str
    cells: tuple[str, ...]
    key: str = ""


@dataclass(frozen=True)
class LabelTable:
    """A manifest as it stands on the disk.

    Parameters
    ----------
    content : bytes
    labels : dict of str to Label
        Of every specimen that it names, by key.
    classes : tuple of str
        In the order of `Manifest.classes`.
    """

    content: bytes = b""
    labels: dict[str, Label] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    _path: Path = Path()
    _header: tuple[str, ...] = ()

    @classmethod
    def of(cls, path: Path, content: bytes) -> LabelTable:
        """Take a table apart.

        Raises
        ------
        ManifestError
            If it is no manifest; the message names the line.
        """
        columns, header, _ = table_of(path, text_of(path, content))
        # One object for all that are called the same: an object for each of 100,000 takes its time.
        names = set(columns["label"])
        once = {by: {name: Label(name, by=by) for name in names} for by in set(columns["by"])}
        said = (once[by][name] for by, name in zip(columns["by"], columns["label"], strict=True))
        labels = dict(zip(columns["path"], said, strict=True))
        return cls(content, labels, classes_of(columns["label"]), path, tuple(header or ()))

    def with_labels(self, changes: Mapping[str, Label], sources: Mapping[str, str]) -> bytes:
        """Give the table's bytes with other labels.

        Parameters
        ----------
        changes : mapping of keys to Label
            A key that the table does not name gets a row at its end, if it has a class.
        sources : mapping of keys to sources
            For rows that are added, if the table has that column.
        """
        if not self.content:
            return _table_of(changes) if any(label.name for label in changes.values()) else b""
        text = text_of(self._path, self.content)
        delimiter = delimiter_of(text)
        names = self._header or ("path", "label")
        if "label" not in names and not any(label.name for label in changes.values()):
            return self.content  # a column of nothing is none to add
        lines = self._lines_of_plain(text, delimiter, names, changes) or self._lines(
            text, delimiter, names, changes
        )
        names = names if "label" in names else (*names, "label")
        added = [(key, label) for key, label in changes.items() if key not in self.labels and label.name]
        end = _line_end(lines[0]) or "\n"
        if added and not _line_end(lines[-1]):
            lines[-1] += end
        for key, label in added:
            row = {"path": written_key(key), "label": label.name, "source": sources.get(key, ""), "by": label.by}
            lines.append(delimiter.join(_cell(row.get(name, "")) for name in names) + end)
        mark = _MARK if self.content.startswith(_MARK) else b""
        return mark + "".join(lines).encode()

    def _lines(self, text: str, delimiter: str, names: tuple[str, ...], changes: Mapping[str, Label]) -> list[str]:
        """Give the rows with other labels, each with its line end."""
        whole = "label" in names
        records = _records_of(text, delimiter, names, bool(self._header), self._path)
        names = names if whole else (*names, "label")
        lines: list[str] = []
        for record in records:
            cells = _changed(record, names, changes.get(record.key)) if record.key else {}
            if not whole and record.cells:  # the table gets the column that it lacks
                cells.setdefault(len(names) - 1, "" if record.key else "label")
            lines.append(_edited(record.text, delimiter, cells) if cells else record.text)
        return lines

    def _lines_of_plain(
        self, text: str, delimiter: str, names: tuple[str, ...], changes: Mapping[str, Label]
    ) -> list[str]:
        """Give them for a table with one line a specimen; an empty list for any other.

        Only rows that change are looked at: all of 100,000 took a second, in which a person who labels had to
        share Python with it.
        """
        lines = list(io.StringIO(text, newline=""))
        first = int(bool(self._header))
        if '"' in text or "label" not in names or len(lines) != first + len(self.labels):
            return []
        for place, key in [one for one in enumerate(self.labels, first) if one[1] in changes]:
            cells = tuple(cell.strip() for cell in lines[place].split(delimiter))
            if other := _changed(_Record(lines[place], cells, key), names, changes[key]):
                lines[place] = _edited(lines[place], delimiter, other)
        return lines


def _records_of(text: str, delimiter: str, names: tuple[str, ...], header: bool, path: Path) -> Iterator[_Record]:
    """Split a table's text into records without losing a character of it."""
    lines = list(io.StringIO(text, newline=""))
    reader = csv.reader(iter(lines), delimiter=delimiter, strict=True)
    home = f"{path.parent.absolute().as_posix().rstrip('/')}/"
    place = names.index("path")
    start, named = 0, not header
    for row in reader:
        raw = "".join(lines[start : reader.line_num])
        start = reader.line_num
        cells = tuple(cell.strip() for cell in row)
        if not any(cells):
            yield _Record(raw, ())
        elif not named:
            named = True
            yield _Record(raw, cells)
        else:
            yield _Record(raw, cells, checked_key(cells[place], path.name).removeprefix(home))


def _changed(record: _Record, names: tuple[str, ...], label: Label | None) -> dict[int, str]:
    """Give the cells of a row that have to change, by their places."""
    if label is None:
        return {}
    wanted = {"label": label.name}
    if "by" in names and (label.by or not label.name):
        wanted["by"] = label.by if label.name else ""
    places = {names.index(name): text for name, text in wanted.items()}
    return {
        place: text
        for place, text in places.items()
        if (record.cells[place] if place < len(record.cells) else "") != text
    }


def _edited(text: str, delimiter: str, cells: Mapping[int, str]) -> str:
    """Replace cells of a row, leaving the others as they are written; places beyond its end are added."""
    end = _line_end(text)
    parts = _raw_cells(text.removesuffix(end), delimiter)
    quoted = bool(parts) and all(part.strip().startswith('"') for part in parts)
    parts += [""] * (max(cells) + 1 - len(parts))
    for place, cell in cells.items():
        parts[place] = _cell(cell, quoted or parts[place].strip().startswith('"'))
    return delimiter.join(parts) + end


def _raw_cells(row: str, delimiter: str) -> list[str]:
    """Split a row at its delimiters, quotation marks kept; one inside a quoted cell is none."""
    parts: list[str] = []
    start = place = 0
    while place <= len(row):
        if place == start and row.startswith('"', place):
            place += 1
            while not (row[place] == '"' and not row.startswith('""', place)):
                place += 2 if row[place] == '"' else 1
            place += 1
        if place == len(row) or row[place] == delimiter:
            parts.append(row[start:place])
            start = place + 1
        place += 1
    return parts


def _cell(text: str, quoted: bool = False) -> str:
    # All that may separate cells, since in a table without a header this row may tell which of them does.
    if quoted or any(mark in text for mark in (*DELIMITERS, '"', "\r", "\n")):
        return '"' + text.replace('"', '""') + '"'
    return text


def _line_end(text: str) -> str:
    return text[len(text.rstrip("\r\n")) :]


def _table_of(labels: Mapping[str, Label]) -> bytes:
    """Write a table where there was none: its labelled specimens."""
    rows = [("path", "label"), *((written_key(key), label.name) for key, label in labels.items() if label.name)]
    return "".join(f"{_cell(key)},{_cell(name)}\n" for key, name in rows).encode()
