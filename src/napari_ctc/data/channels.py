"""One channel of a lazy stack, as an array-like: the shape, dtype and indices that napari asks of an array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from napari_ctc.data.formats import Array
from napari_ctc.errors import SpecimenError

if TYPE_CHECKING:
    from napari_ctc.data.stacks import SpecimenStack

MOST_AT_ONCE = 2**30  # bytes that one index may read; more is a view of all at once, which nobody means

FLAT = "Specimens lie side by side, not in depth, so they are not shown in 3D."


class ChannelView:
    """One channel of a stack, as far as an array needs to be one for napari to show it.

    Parameters
    ----------
    stack : SpecimenStack
    channel : int, from 0
    """

    def __init__(self, stack: SpecimenStack, channel: int) -> None:
        self.stack = stack
        self.index = channel
        self.shape = stack.shape
        self.dtype = stack.dtype
        self.ndim = 3
        self.size = int(np.prod(self.shape, dtype=np.int64))

    def __len__(self) -> int:
        """Return the number of specimens."""
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<{self.stack.channel_names[self.index]} of {self.stack!r}>"

    def __deepcopy__(self, memo: dict[int, Any]) -> ChannelView:
        """Return itself, as `SpecimenStack` does."""
        return self

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Array:
        """Read all specimens into memory."""
        if copy is False:
            raise ValueError("The specimens are on disk; an array of them is always a copy.")
        return np.asarray(self._images(np.arange(len(self)), (slice(None),) * 2), dtype=dtype)

    def __getitem__(self, index: Any) -> Any:
        """Read what is asked for, one file for each specimen named by the first index, up to `MOST_AT_ONCE`."""
        first, rest = self._split(index)
        if isinstance(first, (int, np.integer)):
            return self._image(int(first))[rest]
        rows = np.arange(len(self))[first]
        if rows.ndim != 1 or not all(isinstance(part, (int, np.integer, slice)) for part in rest):
            return np.asarray(self)[index]
        if len(rows) * self.size // len(self) * self.dtype.itemsize > MOST_AT_ONCE:
            raise SpecimenError(FLAT)
        return self._images(rows, rest)

    def _images(self, rows: NDArray[np.integer], rest: tuple[Any, ...]) -> Array:
        found = np.empty((len(rows), *np.empty(self.shape[1:], bool)[rest].shape), self.dtype)
        for place, row in enumerate(rows):
            found[place] = self._image(int(row))[rest]
        return found

    def _image(self, row: int) -> Array:
        image: Array = self.stack.frame(row)[self.index]
        return image

    def _split(self, index: Any) -> tuple[Any, tuple[Any, ...]]:
        """Split an index into that of the specimens and that of the pixels."""
        parts = index if isinstance(index, tuple) else (index,)
        for place, part in enumerate(parts):
            if part is Ellipsis:
                blank = (slice(None),) * (self.ndim - len(parts) + 1)
                parts = (*parts[:place], *blank, *parts[place + 1 :])
                break
        if len(parts) > self.ndim:
            raise IndexError(f"too many indices: {len(parts)} for {self.ndim} dimensions")
        if any(part is None for part in parts):
            raise IndexError("a stack of specimens takes no new axes; make an array of it first")
        return (parts[0], parts[1:]) if parts else (slice(None), ())


def named_channels(count: int, names: Sequence[str] | None = None) -> tuple[str, ...]:
    """Return the names where there is one for each channel, else "Channel 1" and so on."""
    if names is not None and len(names) == count:
        return tuple(names)
    return tuple(f"Channel {number}" for number in range(1, count + 1))
