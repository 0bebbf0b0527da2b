"""How the viewer shows the channels of its specimens, so that thumbnails look alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal

from napari_ctc.gui.stage import Stage, stack_of

if TYPE_CHECKING:
    from napari.layers import Layer
    from napari.viewer import Viewer

    from napari_ctc.data.stacks import SpecimenStack

_SETTLE_MS = 120  # a slider that is dragged changes a layer many times a second
_EVENTS = ("colormap", "contrast_limits", "visible", "opacity")

_WHITE, _BLACK = (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Look:
    """The colour (red, green and blue in [0, 1]), contrast limits and visibility of each channel of a stack."""

    colours: tuple[tuple[float, float, float], ...]
    limits: tuple[tuple[float, float], ...]
    visible: tuple[bool, ...]

    @property
    def visible_colours(self) -> tuple[tuple[float, float, float], ...]:
        """The colours, black for channels that are not shown."""
        return tuple(one if shown else _BLACK for one, shown in zip(self.colours, self.visible, strict=True))


class Looks(QObject):
    """The look of each stack that a viewer shows, as its layers have it now.

    Parameters
    ----------
    viewer : napari.Viewer
    parent : QObject
    """

    changed = Signal()  # shortly after a layer was given another colour, contrast or visibility

    def __init__(self, viewer: Viewer, parent: QObject) -> None:
        super().__init__(parent)
        self._stage = Stage(viewer)
        self._followed: list[Layer] = []
        self._looks: dict[int, Look] = {}
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(_SETTLE_MS)
        self._settle.timeout.connect(self._look)
        self._layers = viewer.layers.events
        for event in (self._layers.inserted, self._layers.removed):
            event.connect(self._ask)
        self._look()

    def of(self, stack: SpecimenStack) -> Look:
        """Give the look of a stack that is open."""
        return self._looks.get(id(stack)) or Look(
            (_WHITE,) * stack.channels, ((0.0, 1.0),) * stack.channels, (True,) * stack.channels
        )

    def leave(self) -> None:
        """Let go of the viewer and its layers."""
        self._settle.stop()
        for event in (self._layers.inserted, self._layers.removed):
            event.disconnect(self._ask)
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
        colours, limits = [_BLACK] * stack.channels, [(0.0, 1.0)] * stack.channels
        visible = [False] * stack.channels
        for layer in self._followed:
            if stack_of(layer) is stack:
                channel = layer.metadata["napari_ctc"]["channel"]
                red, green, blue = layer.colormap.colors[-1][:3].tolist()
                colours[channel] = red * layer.opacity, green * layer.opacity, blue * layer.opacity
                limits[channel] = tuple(layer.contrast_limits)
                visible[channel] = bool(layer.visible)
        known = self._looks.get(id(stack))
        if not any(visible) and known is not None:
            # Another set stands on the canvas, or all was hidden: thumbnails are not black for that.
            visible = list(known.visible)
        return Look(tuple(colours), tuple(limits), tuple(visible))
