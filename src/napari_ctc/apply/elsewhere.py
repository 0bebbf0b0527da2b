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

from napari_ctc.apply.chunks import Chunk, ChunkSettings, batches, classify_chunk, smaller
from napari_ctc.apply.executors import Lost, Place, execute, must_see
from napari_ctc.apply.rows import lost_columns
from napari_ctc.apply.workers import Shared
from napari_ctc.events import Event
from napari_ctc.learn.loading import load_classifier

if TYPE_CHECKING:
    from napari_ctc.apply.outputs import Found
    from napari_ctc.data.manifest import Manifest
    from napari_ctc.learn.classifier import Classifier

BATCHES_IN_PIECE = 4  # enough that reading ahead pays, few enough that rows come soon and no worker idles


def classified_elsewhere(
    place: Place,
    manifest: Manifest,
    classifier: Classifier,
    settings: ChunkSettings,
    spans: Iterable[range],
) -> Found:
    """Classify spans of rows, in pieces of some batches; the same columns as if it were done here.

    What ends its workers each time is found, piece by piece, down to the one specimen: its row has failed, with
    the reason.
    """
    paths = manifest.table["path"]
    sent: deque[range] = deque()

    def chunks() -> Iterator[Chunk]:
        for span in spans:
            for piece in batches(span, settings.batch * BATCHES_IN_PIECE):
                sent.append(piece)
                yield Chunk(paths.iloc[piece.start : piece.stop].tolist(), settings)

    shared = Shared(classifier.to_bytes(), opened, must_see(manifest))
    with closing(execute(place, classify_chunk, chunks(), shared, smaller)) as outcomes:
        for one in outcomes:
            if isinstance(one, Event):
                yield one
                continue
            if isinstance(one, Lost):
                columns = lost_columns(len(one.task.keys), one.reason, len(classifier.classes))
            else:
                columns = one.value
            whole = sent.popleft()
            span = range(whole.start, whole.start + len(columns))
            if span.stop < whole.stop:
                sent.appendleft(range(span.stop, whole.stop))
            yield span, columns


def opened(data: bytes) -> Classifier:
    """Open a classifier that came as the bytes of its file, with all the checks of a file."""
    # On Windows, a file that is mapped into memory cannot be removed before its tensors are gone.
    with tempfile.TemporaryDirectory(prefix="napari-ctc-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "classifier.safetensors"
        path.write_bytes(data)
        return load_classifier(path)
