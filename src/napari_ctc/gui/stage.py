"""What the viewer shows of the open specimens: which one stands on the canvas, and how to put another there."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image
from psygnal import Signal

from napari_ctc.data.channels import ChannelView

if TYPE_CHECKING:
    from napari.layers import Layer
    from napari.viewer import Viewer

    from napari_ctc.data.stacks import SpecimenStack


class Arrivals:
    """Stacks whose layers are still being added, and not drawn yet.

    They count as open from then on, so that no work that begins with open specimens (measuring, counting, labels)
    holds up the first picture.
    """

    ended = Signal()

    def __init__(self) -> None:
        self._stacks: weakref.WeakSet[SpecimenStack] = weakref.WeakSet()

    def __contains__(self, stack: SpecimenStack) -> bool:
        """Tell whether a stack is still arriving."""
        return stack in self._stacks

    def begin(self, stack: SpecimenStack) -> None:
        """Let a stack not count as open for now."""
        self._stacks.add(stack)

    def end(self, stack: SpecimenStack) -> None:
        """Let a stack count as open from now on."""
        if stack in self._stacks:
            self._stacks.discard(stack)
            self.ended.emit()


arrivals = Arrivals()


class Stage:
    """The layers of a viewer that show specimens, and its slider.

    Parameters
    ----------
    viewer : napari.Viewer
        Kept by a weak reference.
    """

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = weakref.ref(viewer)
        self._hidden: weakref.WeakSet[Layer] = weakref.WeakSet()
        self._shown: weakref.ref[SpecimenStack] | None = None  # the set that has the canvas
        self._frame: tuple[int, ...] = ()  # (height, width) of its specimens

    @property
    def layers(self) -> list[Layer]:
        """The layers that show specimens, lowest first; none once the viewer is gone."""
        viewer = self._viewer()
        if viewer is None:
            return []
        return [
            layer for layer in viewer.layers if (stack := stack_of(layer)) is not None and stack not in arrivals
        ]

    @property
    def stacks(self) -> list[SpecimenStack]:
        """The stacks that the layers show, each once."""
        return list({id(stack): stack for stack in map(stack_of, self.layers)}.values())

    def on_canvas(self) -> tuple[SpecimenStack, int] | None:
        """Say which specimen is shown: of the active layer, else of the topmost visible one.

        Returns
        -------
        The stack, and the place in it that the slider stands at, which may lie beyond its end; None for none.
        """
        viewer, own = self._viewer(), self.layers
        if viewer is None or not own:
            return None
        active = viewer.layers.selection.active
        layer = active if active in own else ([one for one in own if one.visible] or own)[-1]
        if layer.ndim <= 2:
            return stack_of(layer), 0
        return stack_of(layer), round(float(layer.world_to_data(np.array(viewer.dims.point[-layer.ndim :]))[0]))

    def give_canvas(self, stack: SpecimenStack) -> None:
        """Hide the layers of all other sets where another one had the canvas: they would be added to the picture.

        What the person lets show beside a set after that stays. Specimens of another size are brought into view.
        """
        viewer, own = self._viewer(), [layer for layer in self.layers if stack_of(layer) is stack]
        if viewer is None or not own or (self._shown is not None and self._shown() is stack):
            return
        self._shown = weakref.ref(stack)
        self._show_alone(own)
        before, self._frame = self._frame, own[0].data.shape[-2:]
        if before not in ((), self._frame):
            viewer.reset_view()

    def would_show(self, layer: Layer) -> bool:
        """Tell whether a layer is visible, or is as soon as its set stands on the canvas."""
        return layer.visible or layer in self._hidden

    def show(self, stack: SpecimenStack, place: int) -> None:
        """Show a specimen: by the slider, and by hiding the layers of other sets where several are open."""
        viewer, own = self._viewer(), [layer for layer in self.layers if stack_of(layer) is stack]
        if viewer is None or not own:
            return
        self.give_canvas(stack)
        if len(self.layers) > len(own):
            self._show_alone(own)
            if not any(layer.visible for layer in own):
                for layer in own:
                    layer.visible = True
        if viewer.layers.selection.active not in own:
            viewer.layers.selection.active = ([layer for layer in own if layer.visible] or own)[-1]
        layer = own[0]
        if layer.ndim > 2:
            at = np.array(layer.world_to_data(np.array(viewer.dims.point[-layer.ndim :])))
            at[0] = place
            viewer.dims.set_point(viewer.dims.ndim - layer.ndim, float(layer.data_to_world(at)[0]))

    def show_anew(self, stack: SpecimenStack, place: int) -> None:
        """Let the layers of a specimen whose file changed show the file as it is."""
        for layer in self.layers:
            if stack_of(layer) is not stack:
                continue
            if layer.ndim > 2:
                layer.refresh()
            else:
                layer.data = stack.channel(layer.metadata["napari_ctc"]["channel"])[place]

    def _show_alone(self, own: list[Layer]) -> None:
        """Hide the layers of other sets; those hidden so come back with their set, and no others."""
        for layer in self.layers:
            if layer not in own and layer.visible:
                self._hidden.add(layer)
                layer.visible = False
        for layer in own:
            if layer in self._hidden:
                self._hidden.discard(layer)
                layer.visible = True


def stack_of(layer: Layer) -> SpecimenStack | None:
    """Return the stack that a layer shows; None for a layer that shows no specimens.

    napari gives our metadata to what it makes of our layers, too. A duplicate shows the same specimens; of
    labels, a projection or one image of many, nothing tells which specimen they show, if any.
    """
    stack: SpecimenStack | None = layer.metadata.get("napari_ctc", {}).get("stack")
    if stack is None or not isinstance(layer, Image):
        return None
    alone = layer.ndim == 2 and len(stack.manifest) == 1
    return stack if alone or isinstance(layer.data, ChannelView) else None
