"""What the person set in napari's preferences: how specimens are laid out, and how their channels are called.

No window and no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from napari_ctc.data.specimens import Layout
from napari_ctc.errors import SettingsError

PLUGIN = "napari-ctc"


def _preferences() -> Any:
    from napari.settings import get_plugin_settings

    return get_plugin_settings(PLUGIN).specimens


def preferred_layout() -> Layout:
    """Return the layout of specimens that the person set in napari's preferences."""
    preferences = _preferences()
    return Layout(int(preferences.channels), str(preferences.channel_axis))  # type: ignore[arg-type]


def preferred_names() -> tuple[str, ...] | None:
    """Return the channel names that the person set, or None."""
    names = tuple(name.strip() for name in str(_preferences().channel_names).split(","))
    return names if any(names) else None


def set_preferences(layout: Layout, names: Sequence[str]) -> None:
    """Remember a layout and channel names in napari's preferences.

    Raises
    ------
    SettingsError
        If there are names, but not one for each channel.
    """
    names = [name.strip() for name in names if name.strip()]
    if names and len(names) != layout.channels:
        raise SettingsError(
            f"There are {len(names)} channel names for {layout.channels} channels. Write one for each, "
            f"separated by commas, or none."
        )
    preferences = _preferences()
    preferences.channels = layout.channels
    preferences.channel_axis = layout.axis
    preferences.channel_names = ", ".join(names)
