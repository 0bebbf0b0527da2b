"""The reader: files, folders and manifests as layers of the viewer, and the drawn sample data.

No window and no torch: dialogs and buttons that open things are in `opening`.
"""

from __future__ import annotations

import os
import re
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_ctc.data.channels import FLAT, ChannelView, named_channels
from napari_ctc.data.drawn import CHANNELS, draw_specimen, write_drawn
from napari_ctc.data.files import cache_folder, exists, is_folder, replacing
from napari_ctc.data.formats import READERS, is_specimen_file
from napari_ctc.data.manifest import Manifest
from napari_ctc.data.specimens import Layout
from napari_ctc.data.stacks import SpecimenStack
from napari_ctc.events import run
from napari_ctc.gui import stage
from napari_ctc.gui.preferences import preferred_layout, preferred_names

if TYPE_CHECKING:
    import numpy as np
    from napari.layers import Layer
    from napari.viewer import Viewer
    from numpy.typing import NDArray

KEY = "napari_ctc"
"""Under this key a layer's metadata tell which stack and channel it shows."""

PATTERNS = (*(f"*{suffix}" for suffix in READERS), "*.csv")
"""What napari.yaml says this reader opens, beside folders."""

SAMPLES = 300

_BRIGHT = 0.4  # of the way from dark to light; drawn bright field has its median at 0.47, fluorescence at 0.07

LayerData = tuple[Any, dict[str, Any], str]
Paths = str | Path | Sequence[str | Path]


# --------------------------------------------------------------------------------------------- reader


def get_reader(path: str | list[str]) -> Callable[[Any], list[LayerData]] | None:
    """Return the function that opens a path, or None for a path that is not ours (napari's reader contract).

    A wrong file of ours is not refused here: the function raises the error that says what is wrong with it.
    """
    if isinstance(path, (str, os.PathLike)):
        ours = is_folder(Path(path)) or is_specimen_file(path) or _is_table(path)
    else:
        ours = bool(path) and (all(map(is_specimen_file, path)) or (len(path) == 1 and get_reader(path[0])))
    return read_layers if ours else None


def read_layers(path: Paths) -> list[LayerData]:
    """Open a file, folder, manifest or several files as layers, one a channel.

    Raises
    ------
    SpecimenError, ManifestError
    """
    return layers_of(open_stack(path, preferred_layout(), preferred_names()))


def open_stack(path: Paths, layout: Layout, names: Sequence[str] | None) -> SpecimenStack:
    """Open a folder, manifest, file or several files as a stack; in any thread.

    Raises
    ------
    SpecimenError, ManifestError
    """
    if not isinstance(path, (str, os.PathLike)) and len(path) == 1:
        path = path[0]
    return SpecimenStack(Manifest.open(path, layout), names)


def _is_table(path: str | os.PathLike[str]) -> bool:
    return Path(path).suffix.lower() == ".csv"


def layers_of(stack: SpecimenStack) -> list[LayerData]:
    """Lay out a stack as one additive layer a channel, the first channel on top and bright field lowest.

    A stack that is one file of one specimen becomes plain images, any other a lazy array with a slider.
    """
    from napari.utils.notifications import show_info

    _watch_current()
    for note in stack.notes:
        show_info(note)
    stack.on_problem.append(_warn)
    tones = stack.tones()
    limits = tones[:, [0, 2]]
    bright = [_is_bright_field(name) for name in stack.channel_names]
    if stack.channel_names == named_channels(stack.channels):
        bright = _look_bright(tones)
    colormaps = choose_colormaps(
        ["bright field" if one else name for one, name in zip(bright, stack.channel_names, strict=True)]
    )
    single = len(stack) == 1 and "#" not in stack.keys[0]
    layers: list[LayerData] = []
    for channel in sorted(range(stack.channels), key=lambda one: (not bright[one], -one)):
        view = stack.channel(channel)
        look = {
            "name": stack.channel_names[channel],
            "colormap": colormaps[channel],
            "contrast_limits": tuple(limits[channel].tolist()),
            "blending": "additive",
            "visible": not (bright[channel] and stack.channels > 1),
            "rgb": False,
            "multiscale": False,
            "cache": single,
            "axis_labels": ("y", "x") if single else ("specimen", "y", "x"),
            "metadata": {KEY: {"stack": stack, "channel": channel}},
        }
        layers.append((view[0] if single else view, look, "image"))
    return layers


def _warn(key: str, sentence: str) -> None:
    from napari.utils.notifications import show_warning

    show_warning(sentence)


def _is_bright_field(name: str) -> bool:
    return re.search(r"bright|phase|transmi|\bdic\b|\bbf\b", name.lower()) is not None


def _look_bright(tones: NDArray[np.float64]) -> list[bool]:
    """Tell which of unnamed channels is bright field, by its tones: (channels, 3), see `SpecimenStack.tones`.

    Fluorescence is dark but for the cells; a bright field's own background is bright, and added to the others it
    would wash them out. If several channels look like it, the picture does not tell.
    """
    dark, median, light = tones.T
    high = (median - dark) / (light - dark) > _BRIGHT
    return [bool(one) and high.sum() == 1 for one in high]


def choose_colormaps(names: Sequence[str]) -> list[str]:
    """Choose a colormap for each channel, all distinct up to seven channels: gray for bright field."""
    if len(names) == 1:
        return ["gray"]
    colours = ["blue", "green", "red", "cyan", "magenta", "yellow"]
    if not any(map(_is_bright_field, names)):
        colours.insert(3, "gray")
    chosen: list[str] = []
    for name in names:
        coloured = sum(one != "gray" or "gray" in colours for one in chosen)
        chosen.append("gray" if _is_bright_field(name) else colours[coloured % len(colours)])
    return chosen


# ------------------------------------------------------------------------------------ adding to a viewer


def add_stack(viewer: Viewer, manifest: Manifest, channel_names: Sequence[str] | None = None) -> list[Layer]:
    """Add a manifest's specimens to a viewer as one lazy layer a channel, and return the layers."""
    from napari.layers import Layer

    watch(viewer)
    stack = SpecimenStack(manifest, channel_names or preferred_names())
    return [viewer.add_layer(Layer.create(*layer)) for layer in layers_of(stack)]


_watched: weakref.WeakSet[Viewer] = weakref.WeakSet()


def watch(viewer: Viewer) -> None:
    """Let a viewer show stacks in 2D only, and from their first specimen on; a second call does nothing."""
    viewer = getattr(viewer, "__wrapped__", viewer)  # a dock gets the viewer behind a proxy
    if viewer in _watched:
        return
    _watched.add(viewer)
    from napari.utils.events import EventEmitter

    known = weakref.ref(viewer)  # what the viewer's events hold must not hold the viewer

    kept: list[tuple[int, ...]] = []

    def keep_flat(event: Any = None) -> None:
        viewer = known()
        if viewer is None or viewer.dims.ndisplay == 2:
            return
        if any(isinstance(layer.data, ChannelView) for layer in viewer.layers):
            from napari.utils.notifications import show_info

            kept[:] = [viewer.dims.current_step] * 2  # napari loses it twice: for the way there, and back
            viewer.dims.ndisplay = 2
            show_info(FLAT)

    def keep_place() -> None:
        viewer = known()
        if viewer is not None and kept:
            viewer.dims.current_step = kept.pop()

    def begin_at_the_first(event: Any) -> None:
        viewer = known()
        if viewer is not None and len(viewer.layers) == 1 and isinstance(event.value.data, ChannelView):
            viewer.dims.set_current_step(0, 0)

    # napari calls its own first, and by then it has read every file. An emitter counts as one of its own, so what
    # hangs on it comes before them. The first specimen comes after them: they go to the middle.
    for event in (viewer.dims.events.ndisplay, viewer.layers.events.inserted):
        early = EventEmitter(type_name="early")
        early.connect(keep_flat)
        event.connect(early, position="first")
    viewer.dims.events.ndisplay.connect(keep_place, position="last")
    viewer.layers.events.inserted.connect(begin_at_the_first, position="last")


def _watch_current() -> None:
    """Watch the viewer in front: napari tells a reader not which one it reads for, but it is that one."""
    from napari import current_viewer

    viewer = current_viewer()
    if viewer is not None:
        watch(viewer)


def stack_of(layer: Layer) -> tuple[SpecimenStack, int] | None:
    """Return the stack and channel that a layer shows, or None for a layer that is not ours."""
    stack = stage.stack_of(layer)
    return None if stack is None else (stack, layer.metadata[KEY]["channel"])


# -------------------------------------------------------------------------------------------- samples


def sample_specimen() -> list[LayerData]:
    """Draw one tumour cell, for File > Open Sample."""
    import numpy as np

    path = cache_folder() / "drawn_specimen.npy"
    if not exists(path):
        with replacing(path) as temporary:
            np.save(temporary, draw_specimen("tumour cell"), allow_pickle=False)
    return layers_of(SpecimenStack(Manifest.open(path), CHANNELS))


def sample_folder() -> list[LayerData]:
    """Draw a folder of 300 specimens once, and open it, for File > Open Sample."""
    return layers_of(drawn_stack())


def drawn_stack() -> SpecimenStack:
    """Open the folder of drawn specimens, in any thread."""
    return SpecimenStack(Manifest.open(drawn_samples()), CHANNELS)


def drawn_samples() -> Path:
    """Return the folder of drawn specimens in the user's cache, drawn when it is not there yet (1.5 s)."""
    folder = cache_folder() / f"drawn_{SAMPLES}"
    if not exists(folder / "manifest.csv"):  # written last: without it, an earlier drawing was cut off
        import shutil

        shutil.rmtree(folder, ignore_errors=True)
        run(write_drawn(folder, SAMPLES))
    return folder
