"""Lazy stacks: every specimen of a manifest as frames of one size, read one file at a time, for a viewer.

How large the view is comes from `survey`, how a specimen is fitted to it from `frames`, and one channel of the
stack, as napari takes it, is in `channels`; what is trained on and classified comes from `specimens`.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_ctc.data.channels import ChannelView, named_channels
from napari_ctc.data.formats import Array
from napari_ctc.data.frames import fit_to_frame
from napari_ctc.data.manifest import Manifest
from napari_ctc.data.specimens import split_key
from napari_ctc.data.survey import refusal, spread, survey
from napari_ctc.errors import CTCError

MEMORY = 256 * 2**20
"""Bytes of frames that a stack keeps, of those shown last."""

_CONTRAST_SPECIMENS = 64
_CONTRAST_PIXELS = 16_384  # of each specimen: a million in all place the percentiles well enough

Problem = Callable[[str, str], object]


class SpecimenStack:
    """The specimens of a manifest as one lazy array of shape (specimens, height, width) for each channel.

    Parameters
    ----------
    manifest : Manifest
    channel_names : sequence of str, optional
        By default "Channel 1" and so on.
    memory : int, bytes
        How much of what was shown lately is kept.

    Attributes
    ----------
    shape : (specimens, height, width)
        The height and width of the view hold the largest specimen.
    dtype : numpy.dtype
        Holds the values of every specimen seen.
    notes : tuple of str
        Sentences worth telling the person who opened it, the manifest's among them.
    on_problem : list of callables
        Each is called once as ``problem(key, sentence)`` for a specimen that cannot be shown; its frame is
        empty.
    reads : int
        Specimens read so far, for whoever wants to know.

    Raises
    ------
    SpecimenError
        If no file of the manifest can be read.
    """

    def __init__(
        self, manifest: Manifest, channel_names: Sequence[str] | None = None, memory: int = MEMORY
    ) -> None:
        self.manifest = manifest
        self.channels = manifest.layout.channels
        self.channel_names = named_channels(self.channels, channel_names)
        view = survey(manifest)
        self.shape = (len(manifest), view.height, view.width)
        self.dtype = view.dtype
        self.notes = (*manifest.notes, *view.notes)
        self.on_problem: list[Problem] = []
        self.reads = 0
        self._keys = manifest.keys
        self._memory = memory
        self._frames: OrderedDict[int, tuple[_Signature, Array]] = OrderedDict()
        self._told: set[tuple[int, _Signature]] = set()
        self._problems: dict[int, str] = {}  # of those that could not be read
        self._tones: NDArray[np.float64] | None = None
        self._lock = threading.RLock()  # napari may slice its layers in threads: they wait for one reading

    def __len__(self) -> int:
        """Return the number of specimens."""
        return self.shape[0]

    def __repr__(self) -> str:
        size = " x ".join(map(str, self.shape))
        return f"<SpecimenStack {size}, {self.channels} channels, {self.dtype}, {self.manifest.root}>"

    def __deepcopy__(self, memo: dict[int, Any]) -> SpecimenStack:
        """Return itself: a duplicated layer shows the same files through the same cache."""
        return self

    @property
    def keys(self) -> list[str]:
        """The specimens' keys, in order."""
        return self._keys

    def channel(self, channel: int) -> ChannelView:
        """Return one channel of all specimens, as an array-like of `shape`."""
        return ChannelView(self, range(self.channels)[channel])

    @property
    def kept_bytes(self) -> int:
        """How much memory the frames take that are kept."""
        return sum(frame.nbytes for _, frame in self._frames.values())

    def frame(self, row: int) -> Array:
        """Return the frame of a specimen; empty (zeros) where it cannot be read.

        Returns
        -------
        (channels, height, width) array of `dtype`, read-only
        """
        row = range(len(self))[row]
        with self._lock:
            signature = self._signature(row)
            kept = self._frames.get(row)
            if kept is not None and kept[0] == signature:
                self._frames.move_to_end(row)
                return kept[1]
            frame, problem = self._read(row)
            self._frames[row] = signature, frame
            self._frames.move_to_end(row)
            while len(self._frames) > max(1, self._memory // frame.nbytes):
                self._frames.popitem(last=False)
            news = problem is not None and (row, signature) not in self._told
            self._told |= {(row, signature)} if news else set()
            self._problems.pop(row, None)
            if problem is not None:
                self._problems[row] = str(problem)
        if news:
            for tell in self.on_problem:
                tell(self._keys[row], str(problem))
        return frame

    def problem(self, row: int) -> str | None:
        """Say why a specimen could not be read when it was shown lately: empty if it could, None if it was not."""
        with self._lock:
            return self._problems.get(row, "") if row in self._frames else None

    def contrast(self) -> NDArray[np.float64]:
        """Measure each channel's contrast limits: the first and last of its `tones`, (channels, 2) float64."""
        return self.tones()[:, [0, 2]]

    def tones(self) -> NDArray[np.float64]:
        """Measure how dark and light each channel is, once, over up to 64 specimens spread over the set.

        Returns
        -------
        (channels, 3) float64
            The 0.1, 50 and 99.9 percentiles; the outer ones one unit apart for a channel of one value.

        Raises
        ------
        SpecimenError
            If none of these specimens can be read.
        """
        if self._tones is not None:
            return self._tones
        values: list[Array] = []
        problems: list[CTCError] = []
        for row in spread(len(self), _CONTRAST_SPECIMENS):
            try:
                specimen = self.manifest.specimen(row)
            except CTCError as problem:
                problems.append(problem)
                continue
            step = max(1, round((specimen[:, :, 0].size / _CONTRAST_PIXELS) ** 0.5))
            values.append(specimen[::step, ::step].reshape(-1, self.channels))
        if not values:
            raise refusal(problems)
        tones = np.percentile(np.concatenate(values).astype(np.float64), (0.1, 50, 99.9), axis=0).T
        flat = tones[:, 0] == tones[:, 2]
        tones[flat, 2] += np.maximum(1.0, np.abs(tones[flat, 2]) * 1e-6)
        self._tones = tones
        return tones

    def _signature(self, row: int) -> _Signature:
        try:
            status = (self.manifest.root / split_key(self._keys[row])[0]).stat()
        except OSError:
            return None
        return status.st_size, status.st_mtime_ns

    def _read(self, row: int) -> tuple[Array, CTCError | None]:
        self.reads += 1
        try:
            specimen = self.manifest.specimen(row)
        except CTCError as problem:
            frame: Array = np.zeros((self.channels, *self.shape[1:]), self.dtype)
            frame.flags.writeable = False
            return frame, problem
        frame = fit_to_frame(specimen, *self.shape[1:], self.dtype)
        frame.flags.writeable = False
        return frame, None


_Signature = tuple[int, int] | None  # size and time of change; None for a file that is gone
