"""Try which way of computing is the fastest on this machine, once, and remember it.

A trial times the very network at its size with the threads of now, in each precision and memory layout. The result
is kept in the user's cache; whether bfloat16 may be used for a classifier is another question (`agreement`).
"""

from __future__ import annotations

import copy
import json
import math
import platform
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Literal

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from napari_ctc.data.files import cache_folder, replacing
from napari_ctc.errors import CTCError
from napari_ctc.events import Event, Job, Said
from napari_ctc.learn.devices import name_of
from napari_ctc.learn.gradients import Gradients
from napari_ctc.learn.ways import WAYS, Way, folded, folded_scores, in_memory_format, made_for, scores_of
from napari_ctc.settings import NetworkName, Precision

Purpose = Literal["training", "classifying"]
Times = dict[Way, float]
"""Seconds of a batch in each way; the hopeless ones are left out."""

MARGIN = 1.25  # so much faster must another way be than the one that the hardware is made for
HOPELESS = 5.0  # times slower than the fastest with one specimen
SLOW = 0.2  # seconds for one specimen, from which a batch of one must do
LARGEST_BATCH, SMALLEST_BATCH, BATCH_PIXELS = 16, 8, 2**16
REPEATS = 5
SECONDS = 1.5  # after which nothing is repeated any more

_KNOWN = TypeAdapter(dict[str, dict[str, float]])


def fastest(
    network: nn.Module,
    name: NetworkName,
    channels: int,
    size: int,
    device: torch.device,
    purpose: Purpose,
    asked: Precision = "auto",
) -> Job[tuple[Way, Times]]:
    """Find the fastest way to train a network or to classify with it.

    Parameters
    ----------
    network : torch.nn.Module
        In float32; it is left as it is.
    name : "compact" or "seed"
    channels : int
    size : int, pixels
    device : torch.device
    purpose : "training" or "classifying"
    asked : "auto", "float32" or "bfloat16"
        Only ways of this precision are chosen from.

    Returns
    -------
    way : Way
    times : dict of Way to float, seconds

    Notes
    -----
    The way that the hardware is made for (bfloat16 where it has it, channels-last) is left only for one that is
    clearly faster, by `MARGIN`: on a busy machine two runs without a common cache then choose alike, and so come
    to the same classifier.
    """
    machine = f"{name_of(device)}, {platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    threads = f"{torch.get_num_threads()} threads, torch {torch.__version__}"
    key = f"{purpose}: {name}, {channels} channels, {size} px; {machine}, {threads}"
    times = _remembered(key)
    if not times:
        yield Said(text="Trying once which number format is the fastest here.")
        times = yield from _try(network, channels, size, device, purpose)
        _remember(key, times)
    return choose(times, made_for(device), asked), times


def choose(times: Times, prior: Way, asked: Precision = "auto") -> Way:
    """Choose the fastest way; `prior`, as far as it was asked for, unless another is faster by `MARGIN`."""
    prior = prior if asked == "auto" else Way(asked)
    allowed = [way for way in times if asked in ("auto", way.precision)]
    best = min(allowed, key=times.__getitem__, default=prior)
    return best if MARGIN * times.get(best, math.inf) < times.get(prior, math.inf) else prior


def compared(times: Times) -> str:
    """Say in words how fast bfloat16 is beside float32."""
    low, full = (
        min((seconds for way, seconds in times.items() if way.precision == one), default=math.inf)
        for one in ("bfloat16", "float32")
    )
    if math.isinf(low):
        return "much slower than float32 here"
    if math.isinf(full):
        return "much faster than float32 here"
    if abs(math.log(full / low)) < math.log(1.05):
        return "as fast as float32 here"
    return f"{full / low:.1f} times as fast as float32 here"


def told(way: Way, times: Times, asked: Precision = "auto") -> str:
    """Say in words which precision was chosen, and why."""
    if asked != "auto":
        return f"in {asked}, as was asked for"
    if way.precision == "bfloat16":
        return f"in bfloat16, {compared(times)}"
    return f"in float32; bfloat16 is {compared(times)}"


# ----------------------------------------------------------------------------------------- the trial


def _try(network: nn.Module, channels: int, size: int, device: torch.device, purpose: Purpose) -> Job[Times]:
    """Time each way; they take turns, and the least of several times counts, which is fair on a busy machine."""
    first = made_for(device)
    calls = {way: _call(network, way, device, purpose) for way in sorted(WAYS, key=lambda way: way != first)}
    one = _images(1, channels, size, device)
    times: Times = {}
    for way, call in calls.items():  # twice: the first time, PyTorch prepares itself
        for _ in range(2):
            times[way] = _timed(call, one, device)
            yield Event()
    least = min(times.values())
    # On a busy machine anything may seem hopeless; what the hardware is made for is not.
    limit = {way: math.inf if way == first else HOPELESS * least for way in times}
    times = {way: seconds for way, seconds in times.items() if seconds < limit[way]}
    if not times or least > SLOW:
        return times
    batch = _images(max(SMALLEST_BATCH, min(LARGEST_BATCH, BATCH_PIXELS // size**2)), channels, size, device)
    start = perf_counter()
    times = dict.fromkeys(times, math.inf)
    for turn in range(REPEATS):
        if turn > 1 and perf_counter() - start > SECONDS:
            break
        for way in times:
            times[way] = min(times[way], _timed(calls[way], batch, device))
            yield Event()
    return times


def _images(number: int, channels: int, size: int, device: torch.device) -> Tensor:
    """Make images that vary; nothing is drawn at random, which would change PyTorch's random state."""
    values = torch.arange(number * channels * size**2, dtype=torch.float32).sin()
    return values.view(number, channels, size, size).to(device)


def _call(network: nn.Module, way: Way, device: torch.device, purpose: Purpose) -> Callable[[Tensor], None]:
    if purpose == "classifying":
        return partial(_forward, folded(network, way, device), way)
    copied = copy.deepcopy(network).to(device)
    in_memory_format(copied, way.memory_format)
    copied.train().requires_grad_(True)
    return partial(_forward_and_back, Gradients(copied, lambda images: scores_of(copied, images, way).sum()))


@torch.inference_mode()
def _forward(network: nn.Module, way: Way, images: Tensor) -> None:
    folded_scores(network, images, way)


def _forward_and_back(gradients: Gradients, images: Tensor) -> None:
    gradients(images)


def _timed(call: Callable[[Tensor], None], images: Tensor, device: torch.device) -> float:
    """Time one call; infinite where this PyTorch cannot compute so."""
    start = perf_counter()
    try:
        call(images)
        getattr(torch, device.type).synchronize()
    except (RuntimeError, TypeError):
        return math.inf
    return perf_counter() - start


# ----------------------------------------------------------------------------------------- the cache


def _cache() -> Path:
    return cache_folder() / "trials.json"


def _read() -> dict[str, dict[str, float]]:
    try:
        return _KNOWN.validate_json(_cache().read_bytes())
    except (OSError, ValidationError):  # none yet, or damaged: what is lost is tried anew
        return {}


def _remembered(key: str) -> Times:
    kept = _read().get(key, {})
    return {way: kept[str(way)] for way in WAYS if kept.get(str(way), 0) > 0}


def _remember(key: str, times: Times) -> None:
    """Add a trial to the cache; where nothing can be written, the next run tries anew."""
    known = _read() | {key: {str(way): round(seconds, 6) for way, seconds in times.items()}}
    try:
        with replacing(_cache(), durable=False) as temporary:
            temporary.write_text(json.dumps(known, indent=1))
    except CTCError:
        pass
