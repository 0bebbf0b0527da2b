"""The colours of the classes, in one place: told apart by most colour-blind people, in either theme.

Source: M. Okabe and K. Ito, Color Universal Design (2008); black is left out, for it has no place on a dark theme.
"""

from __future__ import annotations

OKABE_ITO = ("#56B4E9", "#E69F00", "#D55E00", "#009E73", "#CC79A7", "#F0E442", "#0072B2", "#999999")


def class_colour(place: int) -> str:
    """Give the colour, as ``#rrggbb``, of the class at a place in the list of classes; they repeat after eight."""
    return OKABE_ITO[place % len(OKABE_ITO)]
