"""What a classifier called the specimens held out from it: which ones stand behind each count of a score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_ctc.data.manifest import Manifest


@dataclass(frozen=True, eq=False)
class Calls:
    """Specimens that were held out and read, one below the other.

    Parameters
    ----------
    manifest : Manifest
        The specimens, with the labels that they were judged by.
    called : tuple of str
        The class that each was called.
    digests : tuple of str
        `content_digest` of the pixels that were judged.
    """

    manifest: Manifest
    called: tuple[str, ...]
    digests: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of specimens."""
        return len(self.called)

    def of(self, said: str, called: str) -> Calls:
        """Give those that a person said are `said` and that were called `called`."""
        labels = self.manifest.table["label"].to_numpy(dtype=object)
        rows = np.flatnonzero((labels == said) & (np.array(self.called, dtype=object) == called))
        return self.rows(rows.tolist())

    def rows(self, indices: list[int]) -> Calls:
        """Give some of them."""
        called, digests = self.called, self.digests
        return Calls(
            self.manifest.rows(indices),
            tuple(called[row] for row in indices),
            tuple(digests[row] for row in indices),
        )
