"""The manifest: the table that says which specimens there are, what a person called them and where they are from.

Reads and writes the CSV form, lists folders, and hands out rows. How rows are dealt into training, validation
and test is in `splits`.
"""

from __future__ import annotations

import io
import os
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_ctc.data.files import is_file, is_folder, write_whole
from napari_ctc.data.formats import READERS, Array, is_specimen_file
from napari_ctc.data.listing import keys_of_files, list_folder
from napari_ctc.data.specimens import Layout, keys_of, read_specimen, split_key
from napari_ctc.data.tables import COLUMNS, classes_of, frame_of, read_content, table_of, text_of, written_key
from napari_ctc.data.unfolded import with_unfolded
from napari_ctc.errors import ManifestError, SpecimenError

LABEL_FILES = ("labels.csv", "manifest.csv")
"""Names under which a folder keeps the labels of its specimens, the first that exists."""


@dataclass(frozen=True)
class Manifest:
    """A table of specimens. Frozen: methods that change something return another one.

    Parameters
    ----------
    table : pandas.DataFrame
        One row a specimen, text columns `path` (the key), `label` (what a person said; empty for unlabelled),
        `source`, `split` ("", train, validation or test) and `by` ("" or person, or classifier).
    root : Path
        The folder that relative paths start from.
    layout : Layout
        Channels of the specimens.
    notes : tuple of str
        Sentences worth telling the person who opened it.
    file : Path or None
        The CSV that it was read from, or that gave a folder its labels.
    unlisted : int
        Folders that could not be listed, so that specimens are missing; notes name them.
    """

    table: pd.DataFrame
    root: Path
    layout: Layout = Layout()
    notes: tuple[str, ...] = ()
    file: Path | None = None
    unlisted: int = 0

    # ------------------------------------------------------------------------------------- making one

    @classmethod
    def open(
        cls,
        path: str | Path | Sequence[str | Path],
        layout: Layout = Layout(),
        subfolders: Literal["label", "source"] = "source",
    ) -> Manifest:
        """Open whatever names specimens: a manifest CSV, a folder, a specimen file, a stack, or several files.

        Parameters
        ----------
        path : path, or sequence of paths
        layout : Layout
        subfolders : "label" or "source"
            What the first level of subfolders of a folder says about the specimens in it.

        Raises
        ------
        ManifestError, SpecimenError
        """
        if not isinstance(path, (str, Path)):
            return cls.from_files([Path(one) for one in path], layout)
        path = Path(path)
        if is_folder(path):
            return cls.from_folder(path, layout, subfolders)
        if is_specimen_file(path):
            return cls.from_files([path], layout)
        return cls.read(path, layout)

    @classmethod
    def read(cls, path: str | Path, layout: Layout = Layout()) -> Manifest:
        """Read a manifest CSV: columns `path,label[,source][,split]`, or two columns without a header.

        Commas, semicolons and tabs are understood. Relative paths start at the manifest's folder and stay
        inside it. Labels that a person gave since, and that stand in its journal alone, count as well.

        Raises
        ------
        ManifestError
            With the line, if the table cannot be used.
        """
        path = Path(path)
        columns, _, notes = table_of(path, text_of(path, read_content(path)))
        frame, more = with_unfolded(frame_of(columns), path)
        return cls(frame, path.parent.absolute(), layout, (*notes, *more), path.absolute())

    @classmethod
    def from_folder(
        cls, folder: str | Path, layout: Layout = Layout(), subfolders: Literal["label", "source"] = "source"
    ) -> Manifest:
        """List a folder and all folders below it, those that are links as well.

        A `labels.csv` or `manifest.csv` in the folder gives labels, sources and splits to the files it names;
        labels that a person gave since stand in its journal, and count as well.
        Without one, the first level of subfolders is the label, or the source, of what it holds.

        Raises
        ------
        ManifestError
            If the folder does not exist, cannot be listed or holds no specimen file.
        """
        folder = Path(folder).absolute()
        if not is_folder(folder):
            raise ManifestError(f"{folder} is not a folder. Choose a folder of specimens or a manifest (.csv).")
        listing = list_folder(folder)
        every = listing.files
        files = every if _is_text("".join(every)) else {n: size for n, size in every.items() if _is_text(n)}
        if not files and listing.unlisted:
            raise ManifestError(listing.unlisted[0])
        if not files:
            kinds = ", ".join(READERS)
            raise ManifestError(f"{folder} and the folders below it hold no specimen file ({kinds}).")
        keys, owners, notes = keys_of_files(files, folder, layout)
        if nameless := len(every) - len(files):
            notes = (*notes, f"{nameless:,} files are left out: no table can hold their names. Rename them.")
        notes = (*listing.notes, *notes)
        group = [_group(name.partition("/")[0]) if "/" in name else "" for name in owners]
        manifest = cls(_table(keys, **{subfolders: group}), folder, layout, notes, unlisted=len(listing.unlisted))
        labels = labels_table(folder)
        if labels is not None:
            return _with_labels_of(manifest, cls.read(labels, layout), labels.name)
        for name in LABEL_FILES:  # none is written, and yet there may be labels
            frame, more = with_unfolded(_table([]), folder / name)
            if len(frame):
                return _with_labels_of(manifest, cls(frame, folder, layout, more), name)
        return manifest

    @classmethod
    def from_files(cls, files: Sequence[Path], layout: Layout = Layout()) -> Manifest:
        """Make a manifest of files, in the order given; a stack counts as its specimens.

        Raises
        ------
        SpecimenError
            If none of the files can be read.
        """
        files = list(dict.fromkeys(Path(file).absolute() for file in files))
        if not files:
            raise ManifestError("No file was given. Choose a folder, a manifest (.csv) or files of specimens.")
        for file in files:
            if is_folder(file) or file.suffix.lower() == ".csv":
                raise ManifestError(
                    f"{file.name} is one of several inputs. Give one folder, one manifest, or specimen files."
                )
            if not is_specimen_file(file):
                raise SpecimenError(
                    f"{file.name} is of a format that is not read here (known: {', '.join(READERS)})."
                )
        parents = {file.parent for file in files}
        root = files[0].parent if len(parents) == 1 else Path(_common(parents))
        if len(files) == 1:
            return cls(_table(list(keys_of(files[0], files[0].name, layout))), root, layout)
        names = rebase([file.as_posix() for file in files], Path("/"), root)
        keys, _, notes = keys_of_files(dict.fromkeys(names, -1), root, layout)
        return cls(_table(keys), root, layout, notes)

    # ------------------------------------------------------------------------------------ asking it

    def __len__(self) -> int:
        """Return the number of specimens."""
        return len(self.table)

    @property
    def keys(self) -> list[str]:
        """The specimens' keys, in order."""
        keys: list[str] = self.table["path"].to_numpy(dtype=object).tolist()
        return keys

    @property
    def labels_file(self) -> Path:
        """The table that labels of these specimens belong in; it need not exist."""
        return self.file or self.root.absolute() / LABEL_FILES[0]

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names in use, in order: by number where all are numbers, else by the alphabet."""
        return classes_of(self.table["label"].unique())

    def counts(self, classes: Sequence[str] | None = None) -> NDArray[np.int64]:
        """Count the labelled specimens of each class, in the order of `classes`."""
        found = self.table["label"].value_counts()
        return np.array([int(found.get(name, 0)) for name in classes or self.classes], dtype=np.int64)

    def labels(self, classes: Sequence[str]) -> NDArray[np.int64]:
        """Give each specimen's class as its place in `classes`; -1 for none or another."""
        known = pd.Index(list(classes), dtype=object)
        return known.get_indexer(pd.Index(self.table["label"], dtype=object)).astype(np.int64)

    def labelled(self) -> Manifest:
        """Return the labelled rows."""
        return self.rows(np.flatnonzero(self.table["label"] != ""))

    def rows(self, indices: NDArray[np.integer] | Sequence[int]) -> Manifest:
        """Return some rows, in the order given."""
        return replace(self, table=self.table.iloc[np.asarray(indices, dtype=np.intp)].reset_index(drop=True))

    def locate(self, row: int) -> tuple[Path, int | None]:
        """Give the file of a row and its index inside a stack."""
        name, index = split_key(str(self.table["path"].iat[row]))
        return self.root / name, index

    def specimen(self, row: int) -> Array:
        """Read the specimen of a row.

        Returns
        -------
        (height, width, channels) array, of the file's dtype

        Raises
        ------
        SpecimenError
        """
        return read_specimen(*self.locate(row), self.layout)

    # ------------------------------------------------------------------------------------ changing it

    def with_column(self, column: Literal["label", "source", "split", "by"], values: Iterable[str]) -> Manifest:
        """Return a manifest with another column of labels, sources, splits or authors."""
        return replace(self, table=self.table.assign(**{column: pd.Series(list(values), dtype="str")}))

    def write(self, path: str | Path, headerless: bool = False) -> None:
        """Write the manifest as CSV, the whole file or none.

        Parameters
        ----------
        path : Path
            Specimens below its folder are named relative to it, others by their whole path.
        headerless : bool
            Write the original form: two columns, `path,label`, without a header.
        """
        path = Path(path)
        columns = ["path", "label"]
        if not headerless:
            columns += [name for name in COLUMNS[2:] if (self.table[name] != "").any()]
        table = self.table[columns].assign(path=list(map(written_key, rebase(self.keys, self.root, path.parent))))
        text = io.StringIO()
        table.to_csv(text, index=False, header=not headerless, lineterminator="\n")
        write_whole(path, text.getvalue().encode())


def labels_table(path: Path) -> Path | None:
    """Give the table that `Manifest.open` takes labels from, in a folder or by itself; None for none."""
    path = path.absolute()
    if is_folder(path):
        return next((path / name for name in LABEL_FILES if is_file(path / name)), None)
    return None if is_specimen_file(path) else path


def rebase(keys: Iterable[str], old: Path, new: Path) -> list[str]:
    """Name specimens relative to another folder: forward slashes, or the whole path outside of it."""
    old, new = old.absolute(), new.absolute()
    if old == new:
        return list(keys)
    prefix, start = (f"{folder.as_posix().rstrip('/')}/" for folder in (new, old))
    whole = (key if _is_whole(key) else start + key for key in keys)
    return [name.removeprefix(prefix) for name in whole]


def _is_whole(key: str) -> bool:
    """Tell whether a key is a whole path. Asked of millions, and a Path takes its time."""
    return key[:1] in ("/", "\\") or key[1:3] in (":/", ":\\")  # a file may be called "A:1.npy"


# ----------------------------------------------------------------------------------------- assembling


def _table(keys: Sequence[str], **columns: Sequence[str]) -> pd.DataFrame:
    blank = [""] * len(keys)
    data = {name: columns.get(name, blank) for name in COLUMNS} | {"path": list(keys)}
    return pd.DataFrame(data, columns=list(COLUMNS), dtype="str")


def _group(folder: str) -> str:
    """Give the label or source that a folder's name is, as a person would type it into a table."""
    return unicodedata.normalize("NFC", folder.strip())  # a Mac writes accents as characters of their own


def _is_text(name: str) -> bool:
    """Tell whether a table can hold a name: on Linux it may be any bytes, and a table has one kind of line end."""
    if "\r" in name:
        return False
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _common(folders: Iterable[Path]) -> str:
    try:
        return os.path.commonpath(list(folders))
    except ValueError:  # on Windows, files on two drives have no folder in common
        return str(next(iter(folders)))


def _with_labels_of(manifest: Manifest, labels: Manifest, name: str) -> Manifest:
    """Give a folder's specimens what its own table says of them."""
    known = labels.table.set_index("path")
    missing = int((~known.index.isin(manifest.table["path"])).sum())
    columns = known.reindex(manifest.table["path"]).fillna("").reset_index()[list(COLUMNS)]
    if (columns["source"] == "").all():
        columns = columns.assign(source=manifest.table["source"])
    notes = (*manifest.notes, *labels.notes)
    if missing:
        notes = (*notes, f"{name} names {missing:,} specimens that are not in the folder; they are left out.")
    return replace(manifest, table=columns.astype("str"), notes=notes, file=manifest.root / name)
