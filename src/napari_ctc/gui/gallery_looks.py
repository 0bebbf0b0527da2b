"""How the viewer shows the channels of its specimens, so that thumbnails look alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from napari_ctc.data.composites import LEVELS, ramps
from napari_ctc.gui.stage import stack_of

if TYPE_CHECKING:
    from napari.layers import Layer
    from numpy.typing import NDArray

    from napari_ctc.data.stacks import SpecimenStack
    from napari_ctc.gui.session import Session

_SETTLE_MS = 120  # a slider that is dragged changes a layer many times a second
_EVENTS = ("colormap", "contrast_limits", "gamma", "visible", "opacity")
_LEVELS = np.linspace(0, 1, LEVELS)


@dataclass(frozen=True, eq=False)
class Look:
    """How each channel of a stack is shown.

    Parameters
    ----------
    colours : (channels, 256, 3) float32 in [0, 1]
        The colour of each level between the contrast limits: colormap, gamma and opacity in one.
    limits : (channels, 2) float64
        The contrast limits.
    visible : (channels,) bool
    """

    colours: NDArray[np.float32]
    limits: NDArray[np.float64]
    visible: NDArray[np.bool_]

    def __eq__(self, other: object) -> bool:
        """Tell whether two show specimens alike."""
        mine = (self.colours, self.limits, self.visible)
        return isinstance(other, Look) and all(
            np.array_equal(one, its)
            for one, its in zip(mine, (other.colours, other.limits, other.visible), strict=True)
        )

    __hash__ = None  # type: ignore[assignment]  # arrays have none

    @property
    def visible_colours(self) -> NDArray[np.float32]:
        """The colours, black for channels that are not shown."""
        return self.colours * self.visible[:, None, None]


class Looks(QObject):
    """The look of each stack that a viewer shows, as its layers have it now.

    Parameters
    ----------
    session : Session
    parent : QObject
    """

    changed = Signal()  # shortly after a layer was given another colour, contrast, gamma or visibility

    def __init__(self, session: Session, parent: QObject) -> None:
        super().__init__(parent)
        self._session = session
        self._stage = session.stage
        self._followed: list[Layer] = []
        self._looks: dict[int, Look] = {}
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(_SETTLE_MS)
        self._settle.timeout.connect(self._look)
        self._layers = session.viewer.layers.events
        for event in (self._layers.inserted, self._layers.removed):
            event.connect(self._ask)
        session.specimens_changed.connect(self._look)  # at once: layers can be there before their stack is open
        self._look()

    def of(self, stack: SpecimenStack) -> Look:
        """Give the look of a stack that is open."""
        return self._looks.get(id(stack)) or Look(
            ramps([(1, 1, 1)] * stack.channels),
            np.tile([0.0, 1.0], (stack.channels, 1)),
            np.ones(stack.channels, bool),
        )

    def leave(self) -> None:
        """Let go of the viewer and its layers."""
        self._settle.stop()
        for event in (self._layers.inserted, self._layers.removed):
            event.disconnect(self._ask)
        self._session.specimens_changed.disconnect(self._look, missing_ok=True)
        self._follow([])

    def _follow(self, layers: list[Layer]) -> None:
        """Hear of changes of these layers, and of no others."""
        for layer in self._followed:
            for name in _EVENTS:
                getattr(layer.events, name).disconnect(self._ask)
        for layer in layers:
            for name in _EVENTS:
                getattr(layer.events, name).connect(self._ask)
        self._followed = layers

    def _ask(self, _event: Any = None) -> None:
        if not self._settle.isActive():
            self._settle.start()

    def _look(self) -> None:
        self._follow(self._stage.layers)
        looks = {id(stack): self._look_of(stack) for stack in self._stage.stacks}
        if looks != self._looks:
            self._looks = looks
            self.changed.emit()

    def _look_of(self, stack: SpecimenStack) -> Look:
        colours = np.zeros((stack.channels, LEVELS, 3), np.float32)
        limits = np.tile([0.0, 1.0], (stack.channels, 1))
        visible = np.zeros(stack.channels, bool)
        for layer in self._followed:
            if stack_of(layer) is stack:
                channel = layer.metadata["napari_ctc"]["channel"]
                colours[channel] = layer.colormap.map(_LEVELS**layer.gamma)[:, :3] * layer.opacity
                limits[channel] = layer.contrast_limits
                visible[channel] = self._stage.would_show(layer)
        known = self._looks.get(id(stack))
        if not visible.any() and known is not None:
            # All was hidden by hand: thumbnails are not black for that.
            visible = known.visible
        return Look(colours, limits, visible)
