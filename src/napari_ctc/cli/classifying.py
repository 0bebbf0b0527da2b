"""The commands that use classifiers and hand over what came of it: classify, pack, export-labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter, validators

from napari_ctc.cli.checks import FINDINGS, GOOD, STOPPED, must_be_new, must_differ, need_suffix, opened
from napari_ctc.settings import ChannelAxis, Decision, Precision
from napari_ctc.terminal import Show, drive


def classify(
    model: Path,
    inputs: Annotated[list[Path], Parameter(consume_multiple=True)],
    /,
    *,
    out: Path,
    decision: Decision | None = None,
    proportions: str | None = None,
    precision: Precision = "auto",
    channel_axis: ChannelAxis = "auto",
    replace: Annotated[bool, Parameter(negative=())] = False,
    on: str = "here",
) -> int:
    """Say what each specimen of a folder is.

    The same command again goes on with what was stopped or killed, and adds what is new in the folder.

    Parameters
    ----------
    model
        A classifier file (.safetensors).
    inputs
        A folder, a manifest (.csv), or specimen files.
    out
        The table to write: .csv or .parquet.
    decision
        'balanced' or 'most-probable'; as the classifier was trained to decide, if not given.
    proportions
        The class proportions that probabilities are for: 'training', 'uniform', or 'name=0.9, name=0.1'; as the
        classifier was trained to say, if not given.
    precision
        'float32', 'bfloat16', or 'auto' for the faster one that, held-out specimens showed, says the same.
    channel_axis
        Where the channels stand in the files: 'first', 'last', or 'auto' to find out.
    replace
        Begin anew if --out was begun with another classifier or other settings, or replace another file there.
    on
        Where to compute: 'here', 'processes:N' for N processes of this machine, or 'tcp://HOST:PORT' for the
        workers of a Dask scheduler, which must see the files under the same paths.
    """
    from napari_ctc.apply.inference import classify as classify_job

    classifier, specimens = opened(model, inputs, channel_axis)
    show = Show()
    must_differ(out, model, *inputs)
    predictions = drive(
        classify_job(
            specimens,
            classifier,
            out,
            precision=precision,
            decision=decision,
            proportions=proportions,
            replace=replace,
            on=on,
        ),
        show,
    )
    if show.saved is None:
        print("It was stopped before the first specimen; nothing was written.")
        return STOPPED
    counts = ", ".join(f"{name}: {count:,}" for name, count in predictions.counts.items())
    print(f"Saved {show.saved}: {len(predictions):,} specimens ({counts}).")
    if predictions.failed:
        print(f"{predictions.failed:,} could not be read; the column 'error' says why.")
    if predictions.stopped:
        print("It was stopped; the same command goes on from there.")
        return STOPPED
    return FINDINGS if predictions.failed or show.skipped or specimens.unlisted else GOOD


def pack(
    inputs: Annotated[list[Path], Parameter(consume_multiple=True)],
    /,
    *,
    out: Path,
    channels: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=64))] = 4,
    channel_axis: ChannelAxis = "auto",
    subfolders: Literal["label", "source"] = "source",
) -> int:
    """Put many specimens of one size into one file, which is listed, copied and read much faster.

    The same command again goes on with a pack that was stopped or killed.

    Parameters
    ----------
    inputs
        A folder, a manifest (.csv), or specimen files.
    out
        The stack to write (.npy); its manifest gets the same name with .csv.
    channels
        Number of channels of each specimen.
    channel_axis
        Where the channels stand in the files: 'first', 'last', or 'auto' to find out.
    subfolders
        What the subfolders of a folder without a table name: the 'label' or the 'source' of what they hold.
    """
    from napari_ctc.data.manifest import Manifest
    from napari_ctc.data.packing import pack as pack_job
    from napari_ctc.data.specimens import Layout

    layout = Layout(channels, channel_axis)
    specimens = Manifest.open(inputs[0] if len(inputs) == 1 else inputs, layout, subfolders)
    packed = drive(pack_job(specimens, out))
    if packed.stopped:
        print(f"Stopped with {packed.specimens:,} specimens packed. The same command goes on from there.")
        return STOPPED
    print(f"Saved {packed.path}: {packed.specimens:,} specimens; {packed.manifest.name} says which.")
    if packed.left_out:
        print(f"{packed.left_out:,} were left out; the reasons are above.")
    return FINDINGS if packed.left_out or specimens.unlisted else GOOD


def export_labels(
    predictions: Path,
    /,
    *,
    out: Path,
    which: Literal["person", "both"] = "person",
    headerless: Annotated[bool, Parameter(negative=())] = False,
    replace: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Write the labels of a table of predictions as a manifest.

    Parameters
    ----------
    predictions
        A table that 'classify' wrote.
    out
        The manifest to write (.csv).
    which
        'person': what a person said. 'both': where no person did, what the classifier said, marked by=classifier.
    headerless
        Write two columns without a header.
    replace
        Write over a table that --out names already.
    """
    from napari_ctc.data.exports import export_labels as write_labels
    from napari_ctc.data.predictions import Predictions

    need_suffix(out, ".csv")
    must_differ(out, predictions)
    must_be_new(out, replace)
    rows = write_labels(Predictions.read(predictions), out, which, headerless)
    print(f"Saved {out}: {rows:,} labels.")
    return GOOD
