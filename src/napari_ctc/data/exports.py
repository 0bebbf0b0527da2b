"""Take labels and specimens away: label tables, and one folder of specimens a class."""

from __future__ import annotations

import os
import re
import shutil
import time
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from napari_ctc.data.files import exists, is_folder, replacing
from napari_ctc.data.formats import open_file
from napari_ctc.data.manifest import Manifest
from napari_ctc.data.predictions import Predictions
from napari_ctc.data.specimens import split_key
from napari_ctc.errors import CTCError, PredictionsError, SpecimenError, Stopped
from napari_ctc.events import Event, Job, Skipped

Which = Literal["person", "both"]

_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)  # names that Windows keeps for itself


def export_labels(
    predictions: Predictions, out: str | Path, which: Which = "person", headerless: bool = False
) -> int:
    """Write labels as a manifest that `train` reads.

    Parameters
    ----------
    predictions : Predictions
    out : path
        A CSV, written whole or not at all.
    which : "person" or "both"
        "person" writes what a person said. "both" adds what the classifier said where no person did; those
        rows carry ``by=classifier``, and `train` refuses them unless told to accept them.
    headerless : bool
        Write the original form: two columns without a header.

    Returns
    -------
    int
        Rows written.

    Raises
    ------
    PredictionsError
        If there is no label to write, or `which="both"` is asked for without a header, where a table could
        not say who gave a label.
    """
    if headerless and which == "both":
        raise PredictionsError(
            "Two columns without a header cannot say which labels a classifier gave. "
            "Export a person's labels alone, or keep the header."
        )
    table = predictions.table
    label = table["label"].to_numpy(dtype=object).copy()
    by = np.where(label != "", "person", "").astype(object)
    if which == "both":
        said = (label == "") & (table["predicted"] != "").to_numpy()
        label[said] = table["predicted"].to_numpy(dtype=object)[said]
        by[said] = "classifier"
    rows = np.flatnonzero(label != "")
    if not len(rows):
        more = "" if which == "both" else " To export what the classifier said as well, choose 'both'."
        raise PredictionsError(f"No specimen has a label from a person, so there is nothing to export.{more}")
    frame = pd.DataFrame(
        {"path": table["path"], "label": label, "source": table["source"], "split": table["split"], "by": by},
        dtype="str",
    )
    labels = Manifest(frame.iloc[rows].reset_index(drop=True), predictions.root)
    if which == "person":
        labels = labels.with_column("by", [""] * len(labels))
    labels.write(out, headerless)
    return len(rows)


def export_class_folders(
    predictions: Predictions,
    folder: str | Path,
    by: Literal["predicted", "label"] = "predicted",
    link: bool = False,
) -> Job[int]:
    """Put the specimens into one folder a class.

    Parameters
    ----------
    predictions : Predictions
    folder : path
        New or empty: what an earlier export left there could contradict this one.
    by : "predicted" or "label"
        Whose class counts: the classifier's or a person's.
    link : bool
        Link to the specimens instead of copying them, where the system allows it. Specimens of a stack are
        written as files of their own.

    Yields
    ------
    Event
        `Event` with progress, `Skipped` for a file that cannot be copied.

    Returns
    -------
    int
        Specimens put into folders.

    Raises
    ------
    PredictionsError
        If no specimen has a class, or the folder is not empty.
    """
    folder = Path(folder).absolute()
    names = predictions.table[by].to_numpy(dtype=object)
    rows = np.flatnonzero(names != "")
    if not len(rows):
        raise PredictionsError(f"No specimen has a class under '{by}', so there is nothing to export.")
    if _holds_something(folder):
        raise PredictionsError(
            f"{folder.name} is not an empty folder, and a specimen could end up in it under two classes. Choose a "
            f"new or empty folder."
        )
    folders = _folder_names(sorted(set(names[rows])))
    copied, last = 0, time.monotonic()
    try:
        for done, row in enumerate(rows, 1):
            key = str(predictions.table["path"].iat[int(row)])
            try:
                _put(predictions.root, key, folder / folders[names[row]], link)
                copied += 1
            except (OSError, CTCError) as problem:
                why = f"{key}: {problem.strerror or problem}." if isinstance(problem, OSError) else str(problem)
                yield Skipped(path=key, reason=why, done=done, total=len(rows))
            if time.monotonic() - last > 0.1 or done == len(rows):
                last = time.monotonic()
                yield Event(done=done, total=len(rows))
    except Stopped:
        pass
    return copied


def _holds_something(folder: Path) -> bool:
    """Tell whether a path is anything but a new or an empty folder."""
    try:
        return exists(folder) and (not is_folder(folder) or any(folder.iterdir()))
    except OSError as problem:
        raise PredictionsError(
            f"{folder} cannot be listed: {problem.strerror or problem}. Choose another folder, or check its "
            f"rights."
        ) from problem


def _folder_names(classes: list[str]) -> dict[str, str]:
    """Name a folder for each class, as every file system takes it: what one dislikes, or climbs, becomes "_"."""
    names: dict[str, str] = {}
    for name in classes:
        plain = re.sub(r'[<>:"/\\|?*\x00-\x1f]', "_", name)[:80].strip(" .") or "class"
        if _DEVICE.fullmatch(plain):
            plain += "_"
        while plain.casefold() in (taken.casefold() for taken in names.values()):
            plain += "_"
        names[name] = plain
    return names


def _put(root: Path, key: str, folder: Path, link: bool) -> None:
    name, index = split_key(key)
    source = root / name
    if not source.is_file():
        raise SpecimenError(f"{name} does not exist any more.")
    folder.mkdir(parents=True, exist_ok=True)
    # The folders of a key become part of the name, so that equal names from two folders do not collide.
    relative = Path(name).name if Path(name).is_absolute() else re.sub(r"[/\\]", "__", name)
    stem, suffix = Path(relative).stem, Path(relative).suffix
    target = folder / (f"{stem}#{index}{suffix}" if index is not None else relative)
    number = 2
    while target.exists() or target.is_symlink():
        target = target.with_name(f"{stem}{'' if index is None else f'#{index}'} ({number}){suffix}")
        number += 1
    if index is not None:
        with replacing(target) as temporary:
            np.save(temporary, open_file(source).read(index), allow_pickle=False)
    elif link:
        try:
            target.symlink_to(source)
        except (OSError, NotImplementedError):  # Windows grants links to few people; a hard link will do
            os.link(source, target)
    else:
        source.open("rb").close()  # what cannot be read is said to be so, and not that the copy cannot be written
        with replacing(target) as temporary:
            shutil.copy2(source, temporary)
