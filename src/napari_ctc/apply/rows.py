"""What comes of specimens, column by column: as it is computed and kept, and as rows of a table of predictions.

Kept is what cost the computing: the class that was called, probabilities, and facts about each file. What the
manifest says of a specimen (source, label) joins it only in the table, so that it is always as of now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from napari_ctc.data.bulk import Bulk
from napari_ctc.data.predictions import columns
from napari_ctc.score.calibration import Reading

FACTS = {
    "called": pa.int16(),  # the class's place; -1 where the file could not be read
    "error": pa.string(),
    "bytes": pa.int64(),
    "modified": pa.string(),
    "sha256": pa.string(),
}


def schema(classes: int) -> pa.Schema:
    """Name and type the columns that are kept: facts, then `p_0`, `p_1`... (float32, null where unreadable)."""
    probabilities = {f"p_{place}": pa.float32() for place in range(classes)}
    return pa.schema({**FACTS, **probabilities})


def columns_of(bulk: Bulk, scores: NDArray[np.float32], reading: Reading) -> pa.Table:
    """Make the columns of a batch.

    Parameters
    ----------
    bulk : Bulk
    scores : (n, K) float32
        Raw scores of the readable ones.
    reading : Reading
    """
    n, classes = len(bulk.reasons), len(reading.shown)
    probabilities, called = reading(scores)
    best = np.full(n, -1, np.int16)
    best[bulk.readable] = called
    every = np.zeros((classes, n), np.float32)
    every[:, bulk.readable] = probabilities.T
    lost = best < 0
    arrays = [
        pa.array(best),
        pa.array(bulk.reasons, pa.string()),
        pa.array(bulk.sizes, pa.int64()),
        pa.array(bulk.modified, pa.string()),
        pa.array(bulk.digests, pa.string()),
        *(pa.array(one, mask=lost) for one in every),
    ]
    return pa.table(arrays, schema=schema(classes))


def lost_columns(count: int, reason: str, classes: int) -> pa.Table:
    """Make the columns of specimens of which nothing could be learnt, all for one reason."""
    same = {"called": pa.array([-1] * count, pa.int16()), "error": pa.array([reason] * count, pa.string())}
    texts = {name: pa.array([""] * count, pa.string()) for name in ("modified", "sha256")}
    known = {**same, **texts}
    fields = schema(classes)
    return pa.table([known.get(one.name, pa.nulls(count, one.type)) for one in fields], schema=fields)


def rows_of(
    kept: pa.Table, given: pd.DataFrame, classes: Sequence[str], constants: Mapping[str, str]
) -> pd.DataFrame:
    """Make rows of a table of predictions.

    Parameters
    ----------
    kept : pyarrow.Table
        As `columns_of` makes it.
    given : pandas.DataFrame
        The same specimens in the manifest: `path`, `label`, `source`, `split`, `by`.
    classes : sequence of K str
    constants : mapping
        Columns that are the same in all rows: the classifier's digest, precision, how scores were read.
    """
    n = len(kept)
    called = kept["called"].to_numpy()
    probabilities = {
        f"p_{name}": kept[f"p_{place}"].to_numpy().astype(np.float32, copy=False)
        for place, name in enumerate(classes)
    }
    probability = np.full(n, np.nan, np.float32)
    for place, values in enumerate(probabilities.values()):
        mine = called == place
        probability[mine] = values[mine]
    names = pa.array([*classes, ""])
    label, not_said = given["label"].array, (given["by"] == "classifier").to_numpy()
    table = {
        "path": given["path"].array,
        "source": given["source"].array,
        "predicted": _text(names.take(pa.array(np.where(called < 0, len(classes), called)))),
        "probability": probability,
        **probabilities,
        # What a classifier said is no label, whoever wrote it into a manifest.
        "label": given["label"].mask(not_said, "").array if not_said.any() else label,
        "split": given["split"].array,
        **{name: _text(kept[name]) for name in ("error", "modified", "sha256")},
        "bytes": _whole(kept["bytes"]),
        **{name: _text(pa.repeat(text, n)) for name, text in constants.items()},
    }
    return pd.DataFrame({name: table[name] for name in columns(classes)})


def _text(column: pa.Array | pa.ChunkedArray) -> Any:
    return pd.array(column.cast(pa.large_string()), dtype="str")  # wraps it, where a list would be gone through


def _whole(column: pa.ChunkedArray) -> Any:
    """Make a column of whole numbers, some of them missing."""
    return pd.arrays.IntegerArray(np.array(column.fill_null(0)), column.is_null().to_numpy())
