"""Classify specimens: read ahead in threads, run the network, say what came of each.

`classify` is the job behind the window, the terminal and a notebook. What is done with its table lives in
`data.predictions` and `data.exports`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from napari_ctc.apply.chunks import ChunkSettings, batches, classified
from napari_ctc.apply.forward import Forward
from napari_ctc.apply.forward import batch_size as batch_of
from napari_ctc.apply.rows import rows_of
from napari_ctc.data.files import beside
from napari_ctc.data.manifest import Manifest, rebase
from napari_ctc.data.predictions import WRITERS, Predictions, Writer, empty
from napari_ctc.errors import ClassifierError, PredictionsError, SettingsError, Stopped
from napari_ctc.events import Classified, Event, Job, Said, Saved, Skipped
from napari_ctc.learn.classifier import Classifier
from napari_ctc.learn.devices import choose_device
from napari_ctc.learn.trials import choose, compared, fastest, told
from napari_ctc.learn.ways import Way
from napari_ctc.settings import Decision, Device, Precision

if TYPE_CHECKING:
    import torch


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
    reading = classifier.reading(decision, proportions)
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
            settings = ChunkSettings(
                str(manifest.root), manifest.layout, way, batch_size or batch_of(classifier), reading, target.type
            )
            constants = {
                "classifier": classifier.digest,
                "precision": way.precision,
                **classifier.described(decision, proportions),
            }
            forward = Forward.of(classifier, way, target.type)
            with closing(_events(manifest, forward, settings, constants)) as events:
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


def _events(manifest: Manifest, forward: Forward, settings: ChunkSettings, constants: dict[str, str]) -> Job[None]:
    """Classify, and say what came of each batch."""
    classes, total, done = forward.classifier.classes, len(manifest), 0
    paths = manifest.table["path"]
    todo = ((span, paths.iloc[span.start : span.stop].tolist()) for span in batches(range(total), settings.batch))
    with closing(classified(forward, settings, todo)) as found:
        for one in found:
            if one is None:
                yield Event(done=done, total=total)
                continue
            span, kept = one
            rows = rows_of(kept, manifest.table.iloc[span.start : span.stop], classes, constants)
            for row in rows[rows["error"] != ""].itertuples():
                yield Skipped(path=str(row.path), reason=str(row.error), done=done, total=total)
            done = span.stop
            yield Classified(rows=rows, indices=tuple(span), done=done, total=total)
