"""Classify specimens: read ahead in threads, run the network, say what came of each.

`classify` is the job behind the window, the terminal and a notebook. What is done with its table lives in
`data.predictions` and `data.exports`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from functools import partial
from itertools import chain
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import pyarrow as pa

from napari_ctc.apply.chunks import ChunkSettings, batches, classified
from napari_ctc.apply.elsewhere import classified_elsewhere
from napari_ctc.apply.executors import Place
from napari_ctc.apply.forward import Forward, chunk_size
from napari_ctc.apply.forward import batch_size as batch_of
from napari_ctc.apply.outputs import ROWS_AT_ONCE, Compute, Found, ToFile, ToMemory
from napari_ctc.apply.record import Record, read_record
from napari_ctc.apply.rows import rows_of
from napari_ctc.apply.scales import unlike_scale
from napari_ctc.apply.workers import cores
from napari_ctc.data.manifest import Manifest
from napari_ctc.data.predictions import Predictions, empty
from napari_ctc.data.writers import WRITERS
from napari_ctc.errors import ClassifierError, PlaceError, PredictionsError, SettingsError, Stopped
from napari_ctc.events import Classified, Event, Job, Said, Saved, Skipped
from napari_ctc.learn.devices import choose_device
from napari_ctc.learn.memory import give_back, reused_memory
from napari_ctc.learn.trials import choose, compared, fastest, told
from napari_ctc.learn.ways import Way

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from napari_ctc.learn.classifier import Classifier
    from napari_ctc.settings import Decision, Device, Precision

MANY, MANY_CORES = 300_000, 16  # specimens and cores from which several processes pay, their start included
TOGETHER = 0.2  # seconds in which batches become rows together: forty rows cost nearly as much as a thousand


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
    replace: bool = False,
    on: str | Place = "here",
) -> Job[Predictions]:
    """Classify specimens, in the order of the input.

    Parameters
    ----------
    inputs : Manifest, path or paths
        A manifest, or whatever `Manifest.open` takes: a folder, a CSV, files.
    classifier : Classifier
    out : path, optional
        Where to write the table: .csv or .parquet, the whole file or none. Whatever ends the job before, the same
        call goes on where it was; a stopped job writes its rows so far, if there are any, to ``NAME.stopped.csv``.
        Specimens that are new since come last; files that have changed are classified again.
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
    replace : bool
        Begin anew where `out` was begun with another classifier, other settings or on other specimens, or is a
        file that no classification began; without it, that is refused.
    on : str or Place
        Where it is computed: "here", "processes:N" for N processes of this machine, or "tcp://HOST:PORT" for the
        workers of a Dask scheduler, which must see the files under the same paths. What was begun in one place
        can go on in another.

    Yields
    ------
    Event
        `Classified` five times a second, of some batches together; `Skipped` for each file that cannot be read;
        `Saved`.

    Returns
    -------
    Predictions
        With `stopped=True` and the rows so far when a person stopped it.

    Raises
    ------
    ClassifierError
        If the classifier was trained on another number of channels.
    PredictionsError
        If `out` ends in no known format, was begun with another classifier or other settings, is a file that no
        classification began, or cannot be written any more: what is done then is kept.
    ManifestError, SpecimenError
        If `inputs` cannot be opened at all.
    SettingsError
        If the proportions do not fit the classes.
    PlaceError
        If it cannot be computed where it is to be, or that place vanishes: what is done then is kept.
    """
    place = Place.parse(on)
    elsewhere = place.kind != "here"
    reading = classifier.reading(decision, proportions)
    out = None if out is None else _known(Path(out))
    manifest = inputs if isinstance(inputs, Manifest) else Manifest.open(inputs, classifier.layout)
    if manifest.layout.channels != classifier.channel_count:
        raise ClassifierError(
            f"The classifier was trained on specimens of {classifier.channel_count} channels, and these have "
            f"{manifest.layout.channels}. Open the specimens it was made for, or train another one."
        )
    if batch_size < 0:
        raise SettingsError(f"A batch of {batch_size} specimens cannot be. Use 1 or more, or 0 to have it chosen.")
    target = choose_device("auto" if elsewhere else device)
    output: ToMemory | ToFile | None = None
    stopped = False
    try:
        with suppress(Stopped):
            stopped = True
            way, why = yield from _chosen_way(classifier, target, precision, out)
            described = classifier.described(decision, proportions)
            batch = batch_size or batch_of(classifier)
            if out is None:
                output = ToMemory(manifest, classifier.classes)
            else:
                record = _record(classifier, manifest, way, described, batch)
                output = ToFile(out, classifier.classes, record, manifest, replace)
                batch = output.record.batch
            manifest = output.manifest
            where = place.words if elsewhere else f"on {target.type}"
            yield Said(text=f"Classifying {len(manifest):,} specimens {where} {why}.")
            canvas = classifier.canvas
            for note in filter(None, (*manifest.notes, unlike_scale(manifest, canvas.mean, canvas.sd))):
                yield Said(text=note, warning=True)
            if not elsewhere and target.type == "cpu" and out and len(manifest) >= MANY and cores() >= MANY_CORES:
                yield Said(text=_several(cores() // 2))
            yield from output.check()
            # Of what a long listing needed for a moment, both allocators keep pieces that a network cannot use.
            pa.default_memory_pool().release_unused()
            give_back()
            used = device if elsewhere else target.type  # each worker chooses its own
            settings = ChunkSettings(str(manifest.root), manifest.layout, way, batch, reading, used)
            constants = {"classifier": classifier.digest, "precision": way.precision, **described}
            if elsewhere:
                compute: Compute = partial(classified_elsewhere, place, manifest, classifier, settings)
            else:
                compute = partial(_computed, manifest, Forward.of(classifier, way, target.type), settings)
            try:
                with closing(output.found(compute)) as found:
                    yield from _told(found, output, classifier.classes, constants)
                stopped = False
            except PlaceError as problem:
                if not (isinstance(output, ToMemory) and output.begun):
                    raise
                yield Said(text=str(problem), warning=True)
        if output is None:
            return Predictions(empty(classifier.classes), manifest.root, classifier.classes, stopped=True)
        predictions = output.finish(stopped)
    finally:
        if output is not None:
            output.release()
    if output.saved is not None:
        with suppress(Stopped):  # too late: all is done
            yield Saved(path=output.saved)
    return predictions


def _told(
    found: Found, output: ToMemory | ToFile, classes: tuple[str, ...], constants: dict[str, str]
) -> Job[None]:
    """Make rows of what is found, write them, and say so."""
    table, total = output.manifest.table, len(output.manifest)
    waiting: list[tuple[range, pa.Table]] = []
    told = -math.inf

    def written() -> Classified | None:
        """Write what waits."""
        if not waiting:
            return None
        span = range(waiting[0][0].start, waiting[-1][0].stop)
        kept = pa.concat_tables([columns for _, columns in waiting]).combine_chunks()
        waiting.clear()
        rows = rows_of(kept, table.iloc[span.start : span.stop], classes, constants)
        output.append(rows)
        return Classified(rows=rows, indices=tuple(span), done=span.stop, total=total)

    done = 0
    try:
        for one in chain(found, [Event()]):
            if not isinstance(one, Event):
                waiting.append(one)
                if monotonic() - told < TOGETHER and one[0].stop - waiting[0][0].start < ROWS_AT_ONCE:
                    continue
            if (classified := written()) is not None:
                told = monotonic()
                yield from _skipped(classified.rows, done, total)
                done = classified.done
                yield classified
            if isinstance(one, Event):
                yield dataclasses.replace(one, done=done, total=total)
    except PlaceError:  # what came before it vanished counts
        written()
        output.keep()
        raise


def _skipped(rows: pd.DataFrame, done: int, total: int) -> Iterator[Skipped]:
    lost = rows["error"] != ""
    failed = rows.loc[lost, ["path", "error"]] if lost.any() else rows[:0]  # mostly none, which is told sooner
    for path, reason in zip(failed["path"], failed["error"], strict=True):
        yield Skipped(path=path, reason=reason, done=done, total=total)


def _computed(manifest: Manifest, forward: Forward, settings: ChunkSettings, chunks: Iterable[range]) -> Found:
    """Classify chunks in this process, batch by batch."""
    paths = manifest.table["path"]
    todo = (
        (span, keys[span.start - chunk.start : span.stop - chunk.start])
        for chunk in chunks
        for keys in [paths.iloc[chunk.start : chunk.stop].tolist()]
        for span in batches(chunk, settings.batch)
    )
    with reused_memory(), closing(classified(forward, settings, todo)) as found:
        for one in found:
            yield Event() if one is None else one


def _several(processes: int) -> str:
    return (
        f"On so many cores, {processes} processes may classify so many specimens faster: --on "
        f"processes:{processes}, or in the window under Advanced. You can stop and go on so: what is done is kept."
    )


def _record(classifier: Classifier, manifest: Manifest, way: Way, described: dict[str, str], batch: int) -> Record:
    """Record all that decides what the table will say."""
    return Record(
        classifier=classifier.digest,
        precision=way.precision,
        layout=way.layout,
        decision=described["decision"],
        proportions=described["proportions"],
        root=str(manifest.root),
        channels=manifest.layout.channels,
        channel_axis=manifest.layout.axis,
        chunk=chunk_size(classifier, batch),
        batch=batch,
    )


def _known(out: Path) -> Path:
    if out.suffix.lower() not in WRITERS:
        raise PredictionsError(f"Predictions are written as {' or '.join(WRITERS)}; {out.name} ends in neither.")
    return out


def _chosen_way(
    classifier: Classifier, device: torch.device, asked: Precision, out: Path | None
) -> Job[tuple[Way, str]]:
    """Choose the fastest way of computing that says the same as float32, and say in words why."""
    begun = _begun(out) if asked == "auto" and out is not None else None
    if begun is not None and begun.classifier == classifier.digest:
        return Way(begun.precision, begun.layout), f"in {begun.precision}, as it was begun"
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


def _begun(out: Path) -> Record | None:
    with suppress(PredictionsError):  # a damaged record is refused where it matters
        return read_record(out)
    return None
