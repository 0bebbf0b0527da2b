"""The table of what one classifier said, on disk and in memory.

The formats are in `writers`, a table that stays on the disk in `kept`. What is done with a table afterwards
(labels, class folders) lives in `exports`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_ctc.data.manifest import rebase
from napari_ctc.data.writers import WRITERS
from napari_ctc.errors import PredictionsError

BEFORE = ("path", "source", "predicted", "probability")
READ_AS = ("decision", "proportions", "calibrated")  # how raw scores were read
LATER = ("split", "precision", *READ_AS)  # columns that older tables lack
AFTER = ("label", "split", "error", "classifier", "precision", "bytes", "modified", "sha256", *READ_AS)
TEXT = ("path", "source", "predicted", "label", "error", "classifier", "modified", "sha256", *LATER)


def columns(classes: Sequence[str]) -> list[str]:
    """Name the columns of a table of predictions, in order."""
    return [*BEFORE, *(f"p_{name}" for name in classes), *AFTER]


@dataclass(frozen=True)
class Predictions:
    """What one classifier said of specimens.

    Parameters
    ----------
    table : pandas.DataFrame
        A row a specimen: `path` (its key), `source`, `predicted` (a class, or empty where the file could not
        be read), `probability` (of `predicted`), `p_<class>` for each class, `label` (what a person said),
        `split` (as the manifest marks it), `error` (why there is no prediction), `classifier` (its digest),
        `precision` ("float32" or "bfloat16"), and of the specimen's file: `bytes`, `modified` (UTC, ISO 8601)
        and `sha256`. How the classifier's scores were read: `decision`, `proportions` (as "leukocyte=0.54,
        debris=0.46") and `calibrated` (the classes whose probability is more than a score, with commas between).
    root : Path
        The folder that relative paths start from.
    classes : tuple of str
    stopped : bool
        Whether a person stopped the job before the last specimen.
    notes : tuple of str
        Sentences worth telling whoever takes it away.
    """

    table: pd.DataFrame = field(repr=False)
    root: Path
    classes: tuple[str, ...]
    stopped: bool = False
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of specimens."""
        return len(self.table)

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """The probability of each class, (n, classes) float32; NaN where a file could not be read."""
        return self.table[[f"p_{name}" for name in self.classes]].to_numpy(np.float32)

    @property
    def counts(self) -> dict[str, int]:
        """Predicted specimens of each class."""
        found = self.table["predicted"].value_counts()
        return {name: int(found.get(name, 0)) for name in self.classes}

    @property
    def failed(self) -> int:
        """Specimens that could not be read."""
        return int((self.table["error"] != "").sum())

    @classmethod
    def read(cls, path: str | Path) -> Predictions:
        """Read a table that `write` wrote: CSV or Parquet, by its suffix.

        Raises
        ------
        PredictionsError
            If it is no table of predictions.
        """
        path = Path(path)
        try:
            if path.suffix.lower() == ".parquet":
                table = pd.read_parquet(path)
            else:
                table = pd.read_csv(path, keep_default_na=False, dtype="str")
        except FileNotFoundError:
            raise PredictionsError(f"{path} does not exist. Choose a table written by 'classify'.") from None
        except (OSError, ValueError, pd.errors.ParserError) as problem:
            raise PredictionsError(
                f"{path.name} cannot be read as a table: {problem}. Choose one written by 'classify'."
            ) from problem
        table = table.assign(**{name: "" for name in LATER if name not in table})
        missing = [name for name in (*BEFORE, *AFTER) if name not in table]
        classes = tuple(str(name)[2:] for name in table.columns if str(name).startswith("p_"))
        if missing or not classes:
            lacks = ", ".join(missing) or "p_<class>"
            raise PredictionsError(
                f"{path.name} is no table of predictions: it lacks {lacks}. Choose one written by 'classify'."
            )
        try:
            return cls(typed(table[columns(classes)], classes), path.parent.absolute(), classes)
        except ValueError as problem:
            raise PredictionsError(f"{path.name} holds a damaged number: {problem}.") from problem

    def write(self, path: str | Path) -> None:
        """Write the table as CSV or Parquet, by the suffix, the whole file or none.

        Raises
        ------
        PredictionsError
            If the suffix is of no known format, or the file cannot be written.
        """
        path = Path(path)
        write = WRITERS.get(path.suffix.lower())
        if write is None:
            known = " or ".join(WRITERS)
            raise PredictionsError(f"Predictions are written as {known}; {path.name} ends in neither.")
        writer = write(path)
        try:
            writer.append(self.table.assign(path=rebase(self.table["path"], self.root, path.parent)))
            writer.close()
        except OSError as problem:
            writer.discard()
            raise PredictionsError(
                f"{path} cannot be written: {problem.strerror or problem}. Choose another place, or free space "
                f"and check your rights there."
            ) from problem
        except BaseException:
            writer.discard()
            raise


def typed(table: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Give each column its type: text as text, probabilities float32, bytes as integers (missing allowed)."""
    numbers = {
        name: pd.to_numeric(table[name].replace("", np.nan)).astype("float32")
        for name in ("probability", *(f"p_{name}" for name in classes))
    }
    size = pd.to_numeric(table["bytes"].replace("", np.nan)).astype("Int64")
    text = {name: table[name].astype("str") for name in TEXT}
    return table.assign(**numbers, **text, bytes=size).reset_index(drop=True)


def empty(classes: Sequence[str]) -> pd.DataFrame:
    """Make a table without rows."""
    return typed(pd.DataFrame({name: [] for name in columns(classes)}, dtype="str"), classes)
