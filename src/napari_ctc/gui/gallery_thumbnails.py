"""Thumbnails for the gallery: made in a thread, only for specimens in sight, and kept within a bound of memory."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtGui import QImage
from qtpy.QtWidgets import QWidget

from napari_ctc.data.composites import composite, shrink, side_by_side
from napari_ctc.data.frames import fit_to_frame
from napari_ctc.errors import CTCError
from napari_ctc.events import Event
from napari_ctc.gui.gallery_looks import Looks
from napari_ctc.gui.jobs import start

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_ctc.data.stacks import SpecimenStack
    from napari_ctc.events import Job
    from napari_ctc.gui.gallery_looks import Look
    from napari_ctc.gui.session import Session

MEMORY = 96 * 2**20
"""Bytes of thumbnails that are kept; those in sight are kept beyond it."""

SIDE = 128
"""Pixels: of a larger specimen's channel, blocks are averaged."""

_SECONDS_BETWEEN_EVENTS = 0.03


@dataclass(frozen=True)
class Request:
    """A thumbnail to be made: of which specimen, and in which looks, whose number is the `edition`."""

    identity: int
    edition: int
    stack: SpecimenStack
    place: int
    look: Look
    apart: bool


@dataclass(frozen=True, kw_only=True)
class ThumbnailsMade(Event):
    """Thumbnails with their requests; a null image for a specimen that cannot be read."""

    made: tuple[tuple[Request, QImage], ...]


class Wanted:
    """What is still to be made. The window replaces it, the thread takes from it; no lock is needed for either."""

    def __init__(self) -> None:
        self._requests: deque[Request] = deque()
        self.taken: set[tuple[int, int]] = set()  # identities and editions, until they are delivered

    def __len__(self) -> int:
        return len(self._requests)

    def replace(self, requests: Iterable[Request]) -> None:
        """Want these, and no longer what was wanted before."""
        self._requests = deque(one for one in requests if (one.identity, one.edition) not in self.taken)

    def take(self) -> Request | None:
        """Give the next one."""
        try:
            request = self._requests.popleft()
        except IndexError:
            return None
        self.taken.add((request.identity, request.edition))
        return request


class Thumbnails(QWidget):
    """The thumbnails of a session's specimens. Invisible; a child of the view that shows them.

    Parameters
    ----------
    session : Session
    parent : QWidget
        When it goes, so does the work.
    """

    arrived = Signal()

    def __init__(self, session: Session, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("thumbnails")
        self.hide()
        self._session = session
        self._looks = Looks(session, self)
        self._looks.changed.connect(self._begin_edition)
        self._apart, self._edition = False, 0
        self._kept: OrderedDict[int, tuple[int, QImage]] = OrderedDict()
        self._bytes = 0
        self._in_sight: frozenset[int] = frozenset()
        self._wanted = Wanted()
        self._job = None
        self._left = False
        session.predictions_changed.connect(self._predictions_changed)

    @property
    def busy(self) -> bool:
        """Whether any are being made."""
        return self._job is not None

    @property
    def apart(self) -> bool:
        """Whether the channels stand side by side."""
        return self._apart

    @apart.setter
    def apart(self, apart: bool) -> None:
        if apart != self._apart:
            self._apart = apart
            self._kept.clear()  # they have another shape
            self._bytes = 0
            self._begin_edition()

    def in_sight(self, specimens: list[int]) -> list[QImage | None]:
        """Return the thumbnails of what is in sight now, None where they are still to be made, and make those.

        What came out of sight before it was made is not made.

        Parameters
        ----------
        specimens : list of int
            Indices of the session.
        """
        ids = self._session.rows.ids
        images: list[QImage | None] = []
        missing = []
        for specimen in specimens:
            identity = int(ids[specimen])
            edition, image = self._kept.get(identity, (-1, None))
            images.append(image)
            if image is not None:
                self._kept.move_to_end(identity)
            if edition != self._edition:
                stack, place = self._session.locate(specimen)
                missing.append(Request(identity, self._edition, stack, place, self._looks.of(stack), self._apart))
        self._in_sight = frozenset(ids[specimens].tolist())
        self._wanted.replace(missing)
        self._work()
        return images

    def _work(self) -> None:
        if self._job is None and len(self._wanted) and not self._left:
            self._job = start(
                make_thumbnails(self._wanted),
                parent=self,
                name="Making thumbnails",
                on_event=self._take,
                on_finished=self._end,
                quiet=True,
            )

    def _take(self, event: Event) -> None:
        if self._left or not isinstance(event, ThumbnailsMade):
            return
        for request, image in event.made:
            self._wanted.taken.discard((request.identity, request.edition))
            if request.apart == self._apart:
                self._forget(request.identity)
                self._kept[request.identity] = request.edition, image
                self._bytes += image.sizeInBytes()
        while self._bytes > MEMORY and (oldest := next(iter(self._kept))) not in self._in_sight:
            self._forget(oldest)
        self.arrived.emit()

    def _forget(self, identity: int) -> None:
        _, image = self._kept.pop(identity, (-1, None))
        self._bytes -= image.sizeInBytes() if image is not None else 0

    def _end(self) -> None:
        self._job = None
        self._wanted.taken.clear()
        self._work()  # what came to be wanted meanwhile

    def _begin_edition(self) -> None:
        """Make all anew; until then the old ones are shown, so that nothing flickers."""
        self._edition += 1
        self.arrived.emit()

    def _predictions_changed(self, indices: NDArray[np.intp]) -> None:
        """Make those anew whose files changed, or can be read again."""
        rows = self._session.rows
        anew = self._kept.keys() & set(rows.ids[indices][rows.changed[indices]].tolist())
        blank = [identity for identity, (_, image) in self._kept.items() if image.isNull()]
        mended = indices[rows.unreadable[indices] == ""] if blank else indices[:0]
        anew |= set(blank) & set(rows.ids[mended].tolist())
        for identity in anew:
            self._kept[identity] = -1, self._kept[identity][1]
        if anew:
            self.arrived.emit()

    def leave(self) -> None:
        """Stop all work and let go of the session."""
        self._left = True
        self._wanted.replace(())
        self._looks.leave()
        self._session.predictions_changed.disconnect(self._predictions_changed, missing_ok=True)
        if self._job is not None:
            self._job.stop()


def make_thumbnails(wanted: Wanted) -> Job[None]:
    """Make what is wanted until nothing is, the newest wishes first.

    Yields
    ------
    ThumbnailsMade
    """
    made: list[tuple[Request, QImage]] = []
    last = 0.0
    while (request := wanted.take()) is not None:
        made.append((request, thumbnail(request)))
        if time.monotonic() - last > _SECONDS_BETWEEN_EVENTS:
            yield ThumbnailsMade(made=tuple(made))
            made, last = [], time.monotonic()
    if made:
        yield ThumbnailsMade(made=tuple(made))


def thumbnail(request: Request) -> QImage:
    """Draw one specimen at the scale of its set; a null image where it cannot be read."""
    stack, look = request.stack, request.look
    try:
        specimen = stack.manifest.specimen(request.place)
    except CTCError:
        return QImage()
    image = shrink(fit_to_frame(specimen, *stack.shape[1:], stack.dtype), SIDE)
    if request.apart:
        picture = side_by_side(image, look.colours, look.limits)
    else:
        picture = composite(image, look.visible_colours, look.limits)
    height, width = picture.shape[:2]
    shown = QImage(picture.data, width, height, 3 * width, QImage.Format.Format_RGB888)
    return shown.convertToFormat(QImage.Format.Format_RGB32)  # a copy, in the form that paints fastest
