"""Predictions that stay in their file: counted as they were written, read when their table is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import pandas as pd

from napari_ctc.data.manifest import rebase
from napari_ctc.data.predictions import Predictions


class KeptPredictions(Predictions):
    """What one classifier said of specimens, in a file: a million rows take no memory until they are asked for.

    Parameters
    ----------
    path : Path
        The table.
    root : Path
        The folder that relative paths are to start from when it is read.
    classes : tuple of str
    stopped : bool
    counts : mapping of str to int
        Predicted specimens of each class.
    failed : int
        Specimens that could not be read.
    """

    def __init__(
        self,
        path: Path,
        root: Path,
        classes: tuple[str, ...],
        stopped: bool,
        counts: Mapping[str, int],
        failed: int,
    ) -> None:
        values = {"path": path, "root": root, "classes": classes, "stopped": stopped}
        for name, value in {**values, "_counts": dict(counts), "_failed": failed}.items():
            object.__setattr__(self, name, value)

    path: Path
    _counts: dict[str, int]
    _failed: int

    @cached_property
    def table(self) -> pd.DataFrame:
        """The table, from its file."""
        read = Predictions.read(self.path)
        paths = rebase(read.table["path"], read.root, self.root)
        return read.table.assign(path=pd.array(paths, dtype="str"))

    def __len__(self) -> int:
        """Return the number of specimens."""
        return sum(self._counts.values()) + self._failed

    @property
    def counts(self) -> dict[str, int]:
        """Predicted specimens of each class."""
        return dict(self._counts)

    @property
    def failed(self) -> int:
        """Specimens that could not be read."""
        return self._failed
