"""Digest the pixels of many specimens, to tell which are copies of which."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING

from napari_ctc.data.specimens import content_digest
from napari_ctc.errors import SpecimenError
from napari_ctc.events import Event, Job, Skipped

if TYPE_CHECKING:
    from napari_ctc.data.manifest import Manifest

READERS_AT_ONCE = 4
AT_ONCE = 8  # specimens that a thread reads before it reports
PULSE = 0.2  # seconds between signs of life, at most


def read_digests(manifest: Manifest) -> Job[list[str]]:
    """Read every specimen, in threads, and digest its pixels.

    Yields
    ------
    Event, Skipped

    Returns
    -------
    list of str
        A digest a row (`content_digest`); empty where the specimen cannot be read.
    """
    total = len(manifest)
    spans = iter([range(start, min(start + AT_ONCE, total)) for start in range(0, total, AT_ONCE)])
    found: list[str] = []
    pool = ThreadPoolExecutor(READERS_AT_ONCE, thread_name_prefix="napari-ctc digest")
    waiting: deque[Future[list[str | SpecimenError]]] = deque()
    pulse = monotonic()
    try:
        waiting.extend(pool.submit(_digests, manifest, span) for span in islice(spans, 2 * READERS_AT_ONCE))
        while waiting:
            while not wait([waiting[0]], timeout=PULSE).done:
                pulse = monotonic()
                yield Event(done=len(found), total=total)
            answers = waiting.popleft().result()
            waiting.extend(pool.submit(_digests, manifest, span) for span in islice(spans, 1))
            for answer in answers:
                if isinstance(answer, SpecimenError):
                    path = str(manifest.table["path"].iat[len(found)])
                    yield Skipped(path=path, reason=str(answer), done=len(found), total=total)
                found.append("" if isinstance(answer, SpecimenError) else answer)
            if monotonic() - pulse > PULSE / 2:
                pulse = monotonic()
                yield Event(done=len(found), total=total)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return found


def _digests(manifest: Manifest, rows: range) -> list[str | SpecimenError]:
    answers: list[str | SpecimenError] = []
    for row in rows:
        try:
            answers.append(content_digest(manifest.specimen(row)))
        except SpecimenError as problem:
            answers.append(problem)
    return answers
