"""Where the cells of a gallery lie: a grid of equal cells, cut into groups with a heading each. No Qt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Grid:
    """Cells of one size, in lines of so many columns; heights and places in pixels from the top of the first.

    Parameters
    ----------
    count, columns : int
    width, height : int, pixels
        Of a cell.
    starts : (groups,) integers
        The first cell of each group; the first of them 0.
    heading : int, pixels
        Height of each group's heading; 0 for none.
    """

    count: int
    columns: int
    width: int
    height: int
    starts: NDArray[np.intp]
    tops: NDArray[np.intp]
    heading: int

    @classmethod
    def of(cls, count: int, room: int, width: int, height: int, starts: Sequence[int], heading: int) -> Grid:
        """Lay out `count` cells in `room` pixels of width; without `starts` they are one group with no heading."""
        columns = max(1, room // width)
        firsts = np.array(starts or [0], np.intp)
        heading = heading if len(starts) else 0
        lines = -(-np.diff(np.r_[firsts, count]) // columns)
        tops = np.cumsum(np.r_[0, lines * height + heading])
        return cls(count, columns, width, height, firsts, tops, heading)

    @property
    def total_height(self) -> int:
        """Height of everything."""
        return int(self.tops[-1])

    def place(self, cell: int) -> tuple[int, int]:
        """Give the left and top of a cell."""
        group = self._group_of(cell)
        line, column = divmod(cell - int(self.starts[group]), self.columns)
        return column * self.width, int(self.tops[group]) + self.heading + line * self.height

    def cell_at(self, x: int, y: int) -> int:
        """Give the cell at a place; -1 for none."""
        group = int(np.searchsorted(self.tops, y, side="right")) - 1
        column = x // self.width
        if not (0 <= group < len(self.starts) and 0 <= column < self.columns):
            return -1
        below = y - int(self.tops[group]) - self.heading
        cell = int(self.starts[group]) + below // self.height * self.columns + column
        return cell if below >= 0 and cell < self.end_of(group) else -1

    def between(self, top: int, bottom: int) -> list[int]:
        """Give the cells of which something lies between two heights, in order."""
        cells: list[int] = []
        first = max(int(np.searchsorted(self.tops, top, side="right")) - 1, 0)
        for group in range(first, len(self.starts)):
            begin = int(self.tops[group]) + self.heading
            if begin - self.heading > bottom:
                break
            start, end = int(self.starts[group]), self.end_of(group)
            above, below = max((top - begin) // self.height, 0), max((bottom - begin) // self.height + 1, 0)
            cells += range(min(start + above * self.columns, end), min(start + below * self.columns, end))
        return cells

    def end_of(self, group: int) -> int:
        """Give the first cell that is no longer in a group."""
        return int(self.starts[group + 1]) if group + 1 < len(self.starts) else self.count

    def headings_between(self, top: int, bottom: int) -> list[int]:
        """Give the groups whose heading lies at least partly between two heights."""
        if not self.heading:
            return []
        seen = (self.tops[:-1] <= bottom) & (self.tops[:-1] + self.heading >= top)
        return np.flatnonzero(seen).tolist()

    def vertical_step(self, cell: int, lines: int) -> int:
        """Give the cell some lines below (or above, if negative), in the same column where there is one."""
        x, y = self.place(cell)
        for _ in range(abs(lines)):
            group = int(np.searchsorted(self.tops, y, side="right")) - 1
            begin = int(self.tops[group]) + self.heading
            y += self.height if lines > 0 else -self.height
            if y < begin:
                y = int(self.tops[group]) - self.height  # the last line of the group above
            elif y >= int(self.tops[group + 1]):
                y = int(self.tops[group + 1]) + self.heading
            if not 0 <= y < self.total_height:
                break
            while x >= 0 and (found := self.cell_at(x, y)) < 0:
                x -= self.width
            cell = found
            x = self.place(cell)[0]
        return cell

    def _group_of(self, cell: int) -> int:
        return int(np.searchsorted(self.starts, cell, side="right")) - 1
