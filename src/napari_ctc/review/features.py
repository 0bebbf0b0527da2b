"""Fixed measurements of specimens: what instant learning goes by before any classifier exists.

None of them depends on how a specimen is turned, for cells lie as they fall; all are taken at the specimens' own
scale. What is done with them is in `space` and `head`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from functools import lru_cache
from itertools import combinations, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_ctc.data.files import facts_if_there
from napari_ctc.data.formats import Array
from napari_ctc.data.manifest import Manifest
from napari_ctc.errors import SpecimenError, Stopped
from napari_ctc.events import Event, Job, Measured, Skipped
from napari_ctc.review.patterns import PATTERNS, pattern_shares

Floats = NDArray[np.float32]

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
RINGS, ORDERS = 6, 5  # rings from the centre to the nearest edge; angular orders 0 to 4 in each
BLURS = (1, 2, 4)  # pixels, standard deviations
PER_CHANNEL = len(QUANTILES) + 4 + RINGS * ORDERS + 3 * len(BLURS) + PATTERNS
PER_PAIR = 2

FIRST, AT_ONCE = 16, 32  # specimens of the first batch and of the others: the first results come at once
PIXELS_AT_ONCE = 2**20  # fit into a processor's cache
THREADS = 2


def feature_count(channels: int) -> int:
    """Give the number of features: 254 for 4 channels."""
    return 2 + PER_CHANNEL * channels + PER_PAIR * (channels * (channels - 1) // 2)


def measure(manifest: Manifest, known: Floats | None = None) -> Job[Floats]:
    """Measure specimens, in their order.

    Parameters
    ----------
    manifest : Manifest
    known : (N, F) float32, optional
        What an earlier, stopped job returned: only rows of NaN are measured.

    Yields
    ------
    Event
        `Measured` for each batch, `Skipped` for each specimen that cannot be read.

    Returns
    -------
    (N, F) float32
        A row of NaN for each specimen that could not be read, or was not reached before a person stopped the job.
    """
    values = np.full((len(manifest), feature_count(manifest.layout.channels)), np.nan, np.float32)
    if known is not None:
        values[:] = known
    yield from measure_each(manifest, np.flatnonzero(np.isnan(values).any(axis=1)), values)
    return values


def measure_each(
    manifest: Manifest, rows: NDArray[np.integer] | None = None, into: Floats | None = None
) -> Job[None]:
    """Measure specimens for whoever keeps what the events tell: 100,000 of them take 100 MB.

    Parameters
    ----------
    manifest : Manifest
    rows : (n,) integers, optional
        Which of them; without it, all.
    into : (N, F) float32, optional
        Filled with what is measured.

    Yields
    ------
    Event
        As `measure` does; a stop ends it early.
    """
    if rows is None:
        rows = np.arange(len(manifest))
    batches = iter([rows[:FIRST], *(rows[at : at + AT_ONCE] for at in range(FIRST, len(rows), AT_ONCE))])
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="napari-ctc measure")
    waiting = deque((some, pool.submit(_measured, manifest, some)) for some in islice(batches, THREADS + 1))
    done, total = len(manifest) - len(rows), len(manifest)
    try:
        with suppress(Stopped):
            while waiting:
                while not wait([waiting[0][1]], timeout=0.2).done:
                    yield Event(done=done, total=total)
                some, future = waiting.popleft()
                found, reasons, files = future.result()
                waiting.extend((more, pool.submit(_measured, manifest, more)) for more in islice(batches, 1))
                if into is not None:
                    into[some] = found
                for row, reason in reasons.items():
                    yield Skipped(path=str(manifest.table["path"].iat[row]), reason=reason, done=done, total=total)
                done += len(some)
                every = tuple(some.tolist())
                why = tuple(reasons.get(row, "") for row in every)
                yield Measured(rows=every, values=found, reasons=why, files=files, done=done, total=total)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _measured(
    manifest: Manifest, rows: NDArray[np.integer]
) -> tuple[Floats, dict[int, str], tuple[tuple[int, str], ...]]:
    """Read and measure some specimens; those of equal shape together."""
    values = np.full((len(rows), feature_count(manifest.layout.channels)), np.nan, np.float32)
    reasons: dict[int, str] = {}
    files: list[tuple[int, str]] = []
    groups: dict[tuple[Any, ...], list[tuple[int, Array]]] = {}

    def finish(group: list[tuple[int, Array]]) -> None:
        if group:
            values[[place for place, _ in group]] = features_of([specimen for _, specimen in group])
            group.clear()

    for place, row in enumerate(rows.tolist()):
        files.append(facts_if_there(manifest.locate(row)[0]))
        try:
            specimen = manifest.specimen(row)
        except (SpecimenError, OSError) as problem:
            reasons[row] = str(problem)
            continue
        group = groups.setdefault((specimen.shape, specimen.dtype), [])
        group.append((place, specimen))
        if len(group) * specimen.size >= PIXELS_AT_ONCE:
            finish(group)
    for group in groups.values():
        finish(group)
    return values, reasons, tuple(files)


# ------------------------------------------------------------------------------------------- measuring


def features_of(specimens: Sequence[Array]) -> Floats:
    """Measure specimens of equal shape.

    Parameters
    ----------
    specimens : sequence of B (height, width, channels) arrays
        Of any dtype; what is not finite counts as 0.

    Returns
    -------
    (B, F) float32
        Finite. First height and width; then for each channel quantiles, mean, standard deviation, skewness and
        kurtosis, the parts of each ring by angular order, details at three scales, and local patterns; then for
        each pair of channels their correlation, and how far their bright parts are the same.
    """
    pixels = np.stack(specimens)  # (B, H, W, C)
    count, height, width, channels = pixels.shape
    pixels = pixels.astype(np.float32 if pixels.dtype.itemsize <= 2 else np.float64)
    if not np.isfinite(pixels).all():
        pixels = np.nan_to_num(pixels, posinf=0, neginf=0)
    pixels = np.ascontiguousarray(np.moveaxis(pixels, -1, 1)).reshape(count, channels, -1)  # (B, C, n)
    moments, scaled = _moments(pixels)
    flat = scaled.reshape(count * channels, height, width)
    parts = [
        _quantiles(pixels),
        moments,
        _rings(scaled, height, width),
        _details(flat),
        _patterns(flat),
    ]
    each = np.concatenate([part.reshape(count, channels, -1) for part in parts], axis=2)
    sizes = np.broadcast_to(np.array([height, width]), (count, 2))
    found = np.concatenate([sizes, each.reshape(count, -1), _pairs(scaled)], axis=1)
    most = np.finfo(np.float32).max
    whole: Floats = np.clip(found, -most, most).astype(np.float32)
    return whole


def _quantiles(pixels: NDArray[Any]) -> NDArray[Any]:
    places = np.round(np.array(QUANTILES) * (pixels.shape[2] - 1)).astype(int)
    found: NDArray[Any] = np.sort(pixels, axis=2)[:, :, places]
    return found


def _moments(pixels: NDArray[Any]) -> tuple[NDArray[Any], Floats]:
    """Give mean, standard deviation, skewness and kurtosis, (B, C, 4), and pixels with mean 0 and spread 1."""
    mean = pixels.mean(axis=2, keepdims=True, dtype=np.float64)
    apart = pixels - mean.astype(pixels.dtype)
    most = np.abs(apart).max(axis=2, keepdims=True)
    # Divided before squaring, for pixels may be as large as 1e38; what rounding leaves of a constant is no spread.
    constant = most <= np.finfo(pixels.dtype).eps * 8 * np.abs(mean)
    apart = np.where(constant, 0, apart / np.where(constant, 1, most)).astype(np.float32, copy=False)
    spread = np.sqrt((apart * apart).mean(axis=2, keepdims=True))
    scaled = (apart / np.where(constant, 1, spread)).astype(np.float32, copy=False)
    squares = scaled * scaled
    deviation = np.where(constant, 0, spread * most)
    columns = [mean[..., 0], deviation[..., 0], (squares * scaled).mean(axis=2), (squares * squares).mean(axis=2)]
    return np.stack(columns, axis=2), scaled


@lru_cache(maxsize=16)
def _ring_weights(height: int, width: int) -> tuple[Floats, Floats]:
    """Give the rings times the cosine and sine of each angular order, (n, RINGS x ORDERS) each."""
    y, x = np.mgrid[:height, :width]
    y, x = y - (height - 1) / 2, x - (width - 1) / 2
    radius = np.maximum(np.hypot(y, x) / (min(height, width) / 2) * RINGS, 0.5)
    turn = np.exp(1j * np.arctan2(y, x))
    rings = [np.clip(1 - np.abs(radius - ring - 0.5), 0, None) for ring in range(RINGS)]
    weights = [ring / max(ring.sum(), 1e-9) * turn**order for ring in rings for order in range(ORDERS)]
    table = np.stack([weight.ravel() for weight in weights], axis=1)
    return table.real.astype(np.float32), table.imag.astype(np.float32)


def _rings(scaled: Floats, height: int, width: int) -> Floats:
    """Give each ring's mean, and the strength of its angular orders: two lobes, three lobes..., (B, C, 30)."""
    cosine, sine = (scaled @ weights for weights in _ring_weights(height, width))
    strength: Floats = np.hypot(cosine, sine)
    strength[..., ::ORDERS] = cosine[..., ::ORDERS]  # order 0 keeps its sign: brighter or darker than the mean
    return strength


def _details(flat: Floats) -> Floats:
    """Give the strength, skewness and kurtosis of what each blur takes away, (B x C, 9)."""
    from scipy.ndimage import gaussian_filter

    columns = []
    for blur in BLURS:
        blurred = gaussian_filter(flat, (0, blur, blur), truncate=3)
        detail = (flat - blurred).reshape(len(flat), -1)
        squares = detail * detail
        strength = np.sqrt(squares.mean(axis=1)) + 1e-3
        columns += [
            np.log(strength),
            (squares * detail).mean(axis=1) / strength**3,
            np.log((squares * squares).mean(axis=1) / strength**4 + 1e-3),
        ]
        flat = blurred
    found: Floats = np.stack(columns, axis=1)
    return found


def _patterns(flat: Floats) -> Floats:
    """Give the shares of local binary patterns, (B x C, 10)."""
    return pattern_shares(np.clip(flat * 256, -32000, 32000).astype(np.int16))


def _pairs(scaled: Floats) -> Floats:
    """Give each pair's correlation and the overlap of what is brighter than one standard deviation, (B, ...)."""
    bright = scaled > 1
    columns = [np.zeros((len(scaled), 0))]
    for a, b in combinations(range(scaled.shape[1]), 2):
        correlation = (scaled[:, a] * scaled[:, b]).mean(axis=1)
        either = (bright[:, a] | bright[:, b]).sum(axis=1)
        overlap = (bright[:, a] & bright[:, b]).sum(axis=1) / np.maximum(either, 1)
        columns.append(np.stack([correlation, overlap], axis=1))
    return np.concatenate(columns, axis=1).astype(np.float32)
