"""Classify chunks elsewhere: in processes of this machine, or on a cluster.

The classifier goes once to each worker, as the bytes of its file, and is opened there as any file is: its digest
is checked. A chunk goes as the keys of its specimens and comes back as columns; workers read images themselves.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from napari_ctc.apply.chunks import Chunk, ChunkSettings, batches, classify_chunk
from napari_ctc.apply.executors import Lost, Place, execute, must_see
from napari_ctc.apply.rows import lost_columns
from napari_ctc.apply.workers import Shared
from napari_ctc.events import Event
from napari_ctc.learn.loading import load_classifier

if TYPE_CHECKING:
    from napari_ctc.apply.outputs import Found
    from napari_ctc.data.manifest import Manifest
    from napari_ctc.learn.classifier import Classifier


def classified_elsewhere(
    place: Place,
    manifest: Manifest,
    classifier: Classifier,
    settings: ChunkSettings,
    size: int,
    spans: Iterable[range],
) -> Found:
    """Classify spans of rows, in pieces of at most `size` specimens; the same columns as if it were done here.

    A piece that ends its workers each time comes back as rows that have failed, with the reason.
    """
    paths = manifest.table["path"]
    sent: deque[range] = deque()

    def chunks() -> Iterator[Chunk]:
        for span in spans:
            for piece in batches(span, size):
                sent.append(piece)
                yield Chunk(paths.iloc[piece.start : piece.stop].tolist(), settings)

    shared = Shared(classifier.to_bytes(), opened, must_see(manifest))
    with closing(execute(place, classify_chunk, chunks(), shared)) as outcomes:
        for one in outcomes:
            if isinstance(one, Event):
                yield one
                continue
            span = sent.popleft()
            if isinstance(one, Lost):
                yield span, lost_columns(len(span), one.reason, len(classifier.classes))
            else:
                yield span, one.value


def opened(data: bytes) -> Classifier:
    """Open a classifier that came as the bytes of its file, with all the checks of a file."""
    # On Windows, a file that is mapped into memory cannot be removed before its tensors are gone.
    with tempfile.TemporaryDirectory(prefix="napari-ctc-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "classifier.safetensors"
        path.write_bytes(data)
        return load_classifier(path)
