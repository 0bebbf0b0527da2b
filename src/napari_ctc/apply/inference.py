"""Classify specimens: read ahead in threads, run the network, say what came of each.

`classify` is the job behind the window, the terminal and a notebook. What is done with its table lives in
`data.predictions` and `data.exports`.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from napari_ctc.data.files import beside, size_and_time
from napari_ctc.data.manifest import Manifest, rebase
from napari_ctc.data.predictions import WRITERS, Predictions, Writer, empty, typed
from napari_ctc.errors import ClassifierError, PredictionsError, SettingsError, SpecimenError, Stopped
from napari_ctc.events import Classified, Event, Job, Said, Saved, Skipped
from napari_ctc.learn.batches import Canvas
from napari_ctc.learn.classifier import Classifier
from napari_ctc.learn.devices import choose_device
from napari_ctc.learn.trials import choose, compared, fastest, told
from napari_ctc.learn.ways import Way, folded, folded_scores
from napari_ctc.score.calibration import Reading
from napari_ctc.settings import Decision, Device, Precision

READERS_AT_ONCE = 4
READ_AHEAD = 3  # batches; enough that the network never waits, few enough to keep memory flat


@dataclass(frozen=True)
class _Batch:
    """Specimens of one batch as read: pixels of the readable ones, and facts or a reason for each."""

    rows: range
    pixels: NDArray[Any] | None  # (readable, native, native, C); None where nothing could be read
    readable: NDArray[np.intp]  # places in `rows`
    facts: list[tuple[int | None, str, str]] = field(repr=False)  # bytes, modified, sha256
    reasons: list[str] = field(repr=False)


@dataclass(frozen=True)
class _Asked:
    """A classifier, how its raw scores are read, and the same in words."""

    classifier: Classifier
    reading: Reading
    described: dict[str, str]


def classify(
    inputs: Manifest | str | Path | Sequence[str | Path],
    classifier: Classifier,
    out: str | Path | None = None,
    *,
    precision: Precision = "auto",
    device: Device = "auto",
    batch_size: int = 0,
    decision: Decision | None = None,
    proportions: str | None = None,
) -> Job[Predictions]:
    """Classify specimens, in the order of the input.

    Parameters
    ----------
    inputs : Manifest, path or paths
        A manifest, or whatever `Manifest.open` takes: a folder, a CSV, files.
    classifier : Classifier
    out : path, optional
        Where to write the table: .csv or .parquet, the whole file or none. An older table there is replaced only
        by a finished one; a stopped job then writes beside it, to ``NAME.stopped.csv``.
    precision : "auto", "float32" or "bfloat16"
        "auto" takes bfloat16 where it is faster on this machine and, on the specimens held out in training,
        changed no class and no probability by more than 0.005.
    device : "auto", "cpu", "cuda" or "mps"
    batch_size : int
        Specimens in one forward pass; 0 chooses.
    decision : "balanced" or "most-probable", optional
        Which class is called; as the classifier was trained to, if not given.
    proportions : str, optional
        The class proportions that the probabilities are for: "training", "uniform", or "name=0.9, name=0.1"; as
        the classifier was trained to, if not given.

    Yields
    ------
    Event
        `Classified` for each batch, `Skipped` for each file that cannot be read, `Saved`.

    Returns
    -------
    Predictions
        With `stopped=True` and the rows so far when a person stopped it.

    Raises
    ------
    ClassifierError
        If the classifier was trained on another number of channels.
    PredictionsError
        If `out` ends in no known format.
    ManifestError, SpecimenError
        If `inputs` cannot be opened at all.
    SettingsError
        If the proportions do not fit the classes.
    """
    how = (decision, proportions)
    asked = _Asked(classifier, classifier.reading(*how), classifier.described(*how))
    manifest = inputs if isinstance(inputs, Manifest) else Manifest.open(inputs, classifier.layout)
    if manifest.layout.channels != classifier.channel_count:
        raise ClassifierError(
            f"The classifier was trained on specimens of {classifier.channel_count} channels, and these have "
            f"{manifest.layout.channels}. Open the specimens it was made for, or train another one."
        )
    if batch_size < 0:
        raise SettingsError(f"A batch of {batch_size} specimens cannot be. Use 1 or more, or 0 to have it chosen.")
    writer = _writer(out)
    target = choose_device(device)
    tables: list[pd.DataFrame] = []
    stopped = False
    try:
        try:
            way, why = yield from _chosen_way(classifier, target, precision)
            yield Said(text=f"Classifying {len(manifest):,} specimens on {target.type} {why}.")
            for note in manifest.notes:
                yield Said(text=note, warning=True)
            with closing(_batches(manifest, asked, target, way, batch_size)) as events:
                for event in events:
                    if isinstance(event, Classified):
                        tables.append(event.rows)
                        if writer is not None and out is not None:
                            paths = rebase(event.rows["path"], manifest.root, Path(out).parent)
                            writer.append(event.rows.assign(path=paths))
                    yield event
        except Stopped:
            stopped = True
        table = pd.concat(tables, ignore_index=True) if tables else empty(classifier.classes)
        if writer is not None and out is not None and stopped and Path(out).exists():
            writer.discard()  # an older, whole table is worth more than a part of a new one
            writer, out = None, beside(Path(out))
            Predictions(table, manifest.root, classifier.classes, True).write(out)
        if writer is not None:
            if not tables:
                writer.append(table)
            writer.close()
            writer = None
    finally:
        if writer is not None:
            writer.discard()
    if out is not None:
        with suppress(Stopped):  # too late: all is done
            yield Saved(path=Path(out))
    return Predictions(table, manifest.root, classifier.classes, stopped)


def _chosen_way(classifier: Classifier, device: torch.device, asked: Precision) -> Job[tuple[Way, str]]:
    """Choose the fastest way of computing that says the same as float32, and say in words why."""
    way, times = yield from fastest(
        classifier.network_module,
        classifier.settings.network,
        classifier.channel_count,
        classifier.size,
        device,
        "classifying",
        asked,
    )
    low = classifier.low_precision
    if asked != "auto" or way.precision == "float32" or (low is not None and low.harmless):
        return way, told(way, times, asked)
    unsure = "the classifier's file does not say what it would change"
    why = f"in float32; bfloat16 is {compared(times)}, but {unsure if low is None else low}"
    return choose(times, Way(), "float32"), why


def _writer(out: str | Path | None) -> Writer | None:
    if out is None:
        return None
    make = WRITERS.get(Path(out).suffix.lower())
    if make is None:
        raise PredictionsError(
            f"Predictions are written as {' or '.join(WRITERS)}; {Path(out).name} ends in neither."
        )
    return make(Path(out))


def _batches(
    manifest: Manifest, asked: _Asked, device: torch.device, way: Way, batch_size: int
) -> Generator[Event]:
    """Read ahead, compute, and yield events; a generator, so that closing it ends the threads."""
    classifier = asked.classifier
    size = batch_size or (4 if classifier.settings.network == "seed" else 32)
    network = folded(classifier.network_module, way, device)
    total, done = len(manifest), 0
    spans = iter([range(start, min(start + size, total)) for start in range(0, total, size)])
    pool = ThreadPoolExecutor(READERS_AT_ONCE, thread_name_prefix="napari-ctc read")
    waiting = deque(pool.submit(_read, manifest, span, classifier.canvas) for span in islice(spans, READ_AHEAD))
    try:
        while waiting:
            while not wait([waiting[0]], timeout=0.2).done:
                yield Event(done=done, total=total)
            batch = waiting.popleft().result()
            waiting.extend(pool.submit(_read, manifest, span, classifier.canvas) for span in islice(spans, 1))
            for row, reason in zip(batch.rows, batch.reasons, strict=True):
                if reason:
                    yield Skipped(path=str(manifest.table["path"].iat[row]), reason=reason, done=done, total=total)
            scores = _scores(network, batch.pixels, classifier, device, way)
            done = batch.rows.stop
            rows = _rows(manifest, batch, scores, asked, way.precision)
            yield Classified(rows=rows, indices=tuple(batch.rows), done=done, total=total)
    finally:
        for future in waiting:
            future.cancel()
        pool.shutdown(wait=True)


# --------------------------------------------------------------------------------------------- reading


def _read(manifest: Manifest, rows: range, canvas: Canvas) -> _Batch:
    pixels: list[NDArray[Any]] = []
    readable: list[int] = []
    facts: list[tuple[int | None, str, str]] = []
    reasons: list[str] = []
    for place, row in enumerate(rows):
        path, _ = manifest.locate(row)
        size: int | None = None
        when = digest = reason = ""
        try:
            # Asked before the pixels are read: if the file changes meanwhile, the prediction shows as stale.
            size, when = size_and_time(path)
            specimen = manifest.specimen(row)
            digest = _sha256(path, size, when)
            pixels.append(canvas.fit(specimen))
            readable.append(place)
        except FileNotFoundError:
            reason = f"{path.name} does not exist (looked in {path.parent})."
        except (SpecimenError, OSError) as problem:
            reason = str(problem)
        facts.append((size, when, digest))
        reasons.append(reason)
    batch = canvas.batch(pixels) if pixels else None
    return _Batch(rows, batch, np.array(readable, dtype=np.intp), facts, reasons)


@lru_cache(maxsize=64)
def _sha256(path: Path, size: int, modified: str) -> str:
    """Digest a file. Cached, since the specimens of a stack share theirs."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ------------------------------------------------------------------------------------------- computing


@torch.inference_mode()
def _scores(
    network: torch.nn.Module,
    pixels: NDArray[Any] | None,
    classifier: Classifier,
    device: torch.device,
    way: Way,
) -> NDArray[np.float32]:
    if pixels is None:
        return np.empty((0, len(classifier.classes)), np.float32)
    scores = folded_scores(network, classifier.canvas.to_input(pixels, device), way)  # (B, classes)
    return scores.cpu().numpy()


def _rows(
    manifest: Manifest, batch: _Batch, scores: NDArray[np.float32], asked: _Asked, precision: str
) -> pd.DataFrame:
    classifier = asked.classifier
    probabilities, called = asked.reading(scores)
    classes = np.array([*classifier.classes, ""], dtype=object)
    every = np.full((len(batch.rows), len(classifier.classes)), np.nan, np.float32)
    every[batch.readable] = probabilities
    best = np.full(len(batch.rows), -1)
    best[batch.readable] = called
    source = manifest.table.iloc[batch.rows.start : batch.rows.stop]
    sizes, times, digests = zip(*batch.facts, strict=True)
    table = {
        "path": source["path"].to_numpy(),
        "source": source["source"].to_numpy(),
        "predicted": classes[best],
        "probability": np.where(best < 0, np.nan, every[np.arange(len(best)), best]),
        **{f"p_{name}": every[:, place] for place, name in enumerate(classifier.classes)},
        # What a classifier said is no label, whoever wrote it into a manifest.
        "label": source["label"].mask(source["by"] == "classifier", "").to_numpy(),
        "error": batch.reasons,
        "classifier": classifier.digest,
        "precision": precision,
        "bytes": pd.array(list(sizes), dtype="Int64"),
        "modified": times,
        "sha256": digests,
        **asked.described,
    }
    return typed(pd.DataFrame(table), classifier.classes)
