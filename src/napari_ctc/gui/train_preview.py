"""The button "Preview augmented" in the dock "Train classifier", and the layers that it adds.

They stand to the right of the specimen that is on the canvas, on a slider of their own, until another set has the
canvas. The specimens' own layers stay as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QPushButton

from napari_ctc.errors import CTCError
from napari_ctc.gui import train_jobs as jobs
from napari_ctc.gui.jobs import start
from napari_ctc.gui.layers import stack_of

if TYPE_CHECKING:
    from napari.layers import Image
    from napari.viewer import Viewer

    from napari_ctc.data.stacks import SpecimenStack
    from napari_ctc.gui.train_setup import TrainSetup
    from napari_ctc.learn.preview import Preview

OURS = "napari_ctc_augmented"
_GAP = 1 / 16  # between a specimen and its variants, of its width
_LOOK = ("colormap", "contrast_limits", "gamma", "opacity", "blending", "visible", "interpolation2d")


class PreviewButton(QPushButton):
    """Show the specimen on the canvas as the network would be shown it.

    Parameters
    ----------
    setup : TrainSetup
        Its settings are those of the preview.
    """

    told = Signal(str, bool)  # a sentence for the person, and whether something is wrong
    taken_back = Signal(str)  # a sentence that no longer holds

    def __init__(self, setup: TrainSetup) -> None:
        super().__init__("Preview augmented")
        self.setObjectName("preview")
        self.setToolTip(
            "Show the specimen on the canvas as training would show it to the network: unchanged, then turned, "
            "flipped, shifted, brighter or darker, and noisier. Step through with the slider 'variant'."
        )
        self._setup = setup
        self._of: tuple[SpecimenStack, int] | None = None
        self._said = ""
        self._soon = QTimer(self)  # napari is still removing or selecting layers when it tells of it
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self._end_with_its_set)
        self.clicked.connect(self._begin)

    def _begin(self) -> None:
        session = self._setup.session
        if session.current < 0:
            self.told.emit("No specimen is on the canvas, so none can be shown augmented. Open some first.", True)
            return
        self._of = session.locate(session.current)
        stack, row = self._of
        try:
            settings = self._setup.settings()
        except CTCError as problem:
            self.told.emit(str(problem), True)
            return
        self.setEnabled(False)
        start(
            jobs.preview(stack.manifest, row, settings),
            parent=self,
            name="Preview augmented",
            on_result=self._show,
            on_error=self._show_error,
            on_finished=self._end,
            quiet=True,
        )

    def _show(self, found: Preview) -> None:
        viewer = self._setup.session.viewer
        stack, row = self._of or (None, 0)
        own = [layer for layer in viewer.layers if (of := stack_of(layer)) and of[0] is stack]
        before = remove_preview(viewer)
        if not own or not self._on_canvas:  # another set took the canvas meanwhile
            return
        active = viewer.layers.selection.active
        added = [_add_variants(viewer, layer, found, row, stack.shape[1:]) for layer in own]
        if lowest := next((layer for layer in added if layer.visible), None):
            lowest.blending = "opaque"  # what is added to a light theme's canvas would be white
        viewer.dims.set_current_step(viewer.dims.ndim - own[0].ndim - 1, 0)
        viewer.layers.selection.active = active if active in viewer.layers else own[-1]
        if not before:
            viewer.reset_view()
        self._said = (
            f"Right of the specimen: {len(found.images)} variants, the first unchanged. Step through them with "
            f"the slider 'variant'."
        )
        self.told.emit(self._said, False)

    @property
    def _on_canvas(self) -> bool:
        """Whether the set that was previewed is on the canvas, where variants stand at their specimen alone."""
        shown = self._setup.session.stage.on_canvas()
        return shown is not None and self._of is not None and shown[0] is self._of[0]

    def follow_canvas(self) -> None:
        """Remove the variants once another set is on the canvas: they would stand beside its specimens."""
        self._soon.start(0)

    def _end_with_its_set(self) -> None:
        if not self._on_canvas and remove_preview(self._setup.session.viewer):
            self.taken_back.emit(self._said)

    def _show_error(self, error: Exception) -> None:
        told = str(error) if isinstance(error, CTCError) else f"Something went wrong: {error!r}."
        self.told.emit(told, True)

    def _end(self) -> None:
        self.setEnabled(self._setup.advanced_form.augment.value)


def remove_preview(viewer: Viewer) -> bool:
    """Remove the layers of the last preview; returns whether there were any."""
    old = [layer for layer in viewer.layers if layer.metadata.get(OURS)]
    for layer in old:
        viewer.layers.remove(layer)
    return bool(old)


def _add_variants(viewer: Viewer, layer: Image, found: Preview, row: int, frame: tuple[int, int]) -> Image:
    """Add a channel's variants beside its layer, at the same place of the slider, in the same colours."""
    images = found.images[:, stack_of(layer)[1]]  # (V, size, size)
    height, width = frame
    edge = (found.pixel - 1) / 2  # a layer stands where the centre of its first pixel is
    at = np.array([row, (height - found.native) / 2 + edge, width * (1 + _GAP) + edge])[-layer.ndim :]
    pixel = np.array([1, found.pixel, found.pixel])[-layer.ndim :]
    blank = (1,) * (layer.ndim - 2)
    return viewer.add_image(
        images.reshape(len(images), *blank, *images.shape[1:]),
        name=f"augmented: {layer.name}",
        scale=(1, *(pixel * layer.scale)),
        translate=(0, *(at * layer.scale + layer.translate)),
        axis_labels=("variant", *layer.axis_labels),
        metadata={OURS: True},
        **{name: getattr(layer, name) for name in _LOOK},
    )
