"""The unit of work of classifying: some specimens in, columns of what came of each out, here or on any worker.

`classify_chunk` is the function that travels. `classified` is the same for many chunks in this process, with
reading, hashing and computing overlapped across their borders. Where the columns are kept is in `parts`; how they
become rows of a table is in `rows`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import islice

import pyarrow as pa

from napari_ctc.apply.forward import Forward
from napari_ctc.apply.rows import columns_of
from napari_ctc.apply.streams import Streams
from napari_ctc.data.bulk import Bulk, read_bulk
from napari_ctc.data.room import Room
from napari_ctc.data.specimens import Layout
from napari_ctc.learn.classifier import Classifier
from napari_ctc.learn.ways import Way
from napari_ctc.score.calibration import Reading

PULSE = 0.2  # seconds between signs of life
PIECES = 8  # of a chunk that ends its workers


@dataclass(frozen=True)
class ChunkSettings:
    """All that decides what comes of a chunk, beside its classifier and its specimens. Plain values: it travels.

    Parameters
    ----------
    root : str
        The folder that relative keys start from, as the worker sees it.
    layout : Layout
    way : Way
        Precision and memory layout, chosen once for all chunks.
    batch : int
        Specimens in one forward pass; chunks are cut into batches from their start.
    reading : Reading
        How raw scores become probabilities and classes.
    device : str
        "auto", "cpu", "cuda" or "mps".
    """

    root: str
    layout: Layout
    way: Way
    batch: int
    reading: Reading
    device: str = "auto"


@dataclass(frozen=True)
class Chunk:
    """Some specimens to classify: their keys, in the order of the input, and how. Plain values: it travels."""

    keys: list[str]
    settings: ChunkSettings


def smaller(chunk: Chunk) -> list[Chunk]:
    """Cut a chunk into pieces, to find the specimen that ends whoever works on it; one specimen stays as it is."""
    count = len(chunk.keys)
    spans = batches(range(count), max(1, -(-count // PIECES)))
    return [Chunk(chunk.keys[span.start : span.stop], chunk.settings) for span in spans]


def classify_chunk(classifier: Classifier, chunk: Chunk) -> pa.Table:
    """Classify some specimens; runs in any process that has this package and sees the files.

    Parameters
    ----------
    classifier : Classifier
        Opened once in each process.
    chunk : Chunk

    Returns
    -------
    pyarrow.Table
        A row a key, in their order, with the columns of `napari_ctc.apply.rows.schema`. A specimen that cannot
        be read is a row with its reason: no missing or damaged file makes this function fail.
    """
    keys, settings = chunk.keys, chunk.settings
    forward = _prepared(classifier, settings.way, settings.device)
    spans = batches(range(len(keys)), settings.batch)
    parts = [
        done[1]
        for done in classified(forward, settings, ((span, keys[span.start : span.stop]) for span in spans))
        if done is not None
    ]
    return pa.concat_tables(parts)


@lru_cache(maxsize=2)
def _prepared(classifier: Classifier, way: Way, device: str) -> Forward:
    return Forward.of(classifier, way, device)


def batches(chunk: range, size: int) -> list[range]:
    """Cut a chunk into batches, from its start."""
    return [range(start, min(start + size, chunk.stop)) for start in range(chunk.start, chunk.stop, size)]


def classified(
    forward: Forward, settings: ChunkSettings, todo: Iterable[tuple[range, Sequence[str]]]
) -> Generator[tuple[range, pa.Table] | None]:
    """Classify batches in this process, some at once.

    Parameters
    ----------
    forward : Forward
    settings : ChunkSettings
    todo : iterable of (rows, keys)
        Batches; taken as they are needed.

    Yields
    ------
    (rows, columns) of each batch in order, or None as a sign of life. Closing the generator ends its threads.
    """
    calls = iter(todo)
    streams = Streams(forward.device)

    def compute(bulk: Bulk, room: Room) -> pa.Table:
        return columns_of(bulk, forward(bulk, room), settings.reading)

    def submit() -> None:
        for span, keys in islice(calls, 1):
            read = partial(read_bulk, settings.root, keys, settings.layout)
            waiting.append((span, streams.submit(read, compute)))

    waiting: deque[tuple[range, Future[pa.Table]]] = deque()
    try:
        for _ in range(streams.threads):
            submit()
        while waiting:
            span, future = waiting.popleft()
            while not wait([future], timeout=PULSE).done:
                yield None
            submit()
            yield span, future.result()
    finally:
        streams.close()
