"""Specimens that a table of labels speaks of: the keys it has for them, and the ids they have in the window.

No object is kept for each specimen: 100,000 small ones would cost the window half a second when it opens them, and
again whenever Python counts through its objects.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_ctc.data.manifest import Manifest


@dataclass(frozen=True, eq=False)
class Held:
    """The specimens of one manifest.

    Parameters
    ----------
    manifest : Manifest
    keys : list of str
        Of each row, as the table of labels has them.
    first : int
        The id of the first row; the others follow it one by one.
    """

    manifest: Manifest
    keys: list[str]
    first: int
    _last: dict[str, int] = field(init=False, repr=False)  # of each key, the last row that has it
    _repeated: dict[str, list[int]] = field(init=False, repr=False)  # ids, where a key stands more than once

    def __post_init__(self) -> None:
        last = dict(zip(self.keys, range(len(self.keys)), strict=True))
        repeated: dict[str, list[int]] = {}
        if len(last) < len(self.keys):
            for row, key in enumerate(self.keys):
                repeated.setdefault(key, []).append(self.first + row)
        object.__setattr__(self, "_last", last)
        object.__setattr__(self, "_repeated", repeated)

    @property
    def ids(self) -> NDArray[np.int64]:
        """The ids of all rows."""
        return np.arange(self.first, self.first + len(self.keys), dtype=np.int64)

    @property
    def repeats(self) -> bool:
        """Whether a key stands more than once."""
        return bool(self._repeated)

    def __contains__(self, identity: int) -> bool:
        """Tell whether the specimen with this id is among them."""
        return self.first <= identity < self.first + len(self.keys)

    def ids_of(self, key: str) -> list[int]:
        """Give the ids of the specimens under a key."""
        if self._repeated:
            return self._repeated.get(key, [])
        row = self._last.get(key)
        return [] if row is None else [self.first + row]
