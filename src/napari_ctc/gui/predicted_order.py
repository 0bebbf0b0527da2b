"""The orders that the open specimens can be shown in: numbers to sort by, and titles of groups of like ones."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from operator import eq, lt, ne
from typing import TYPE_CHECKING

import numpy as np

from napari_ctc.gui.rows import NOT_KNOWN

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_ctc.gui.rows import Rows
    from napari_ctc.gui.shown import Words

OPENED = "as opened"
NAME, SOURCE, STATUS = "name", "source", "status"
PREDICTED, LABEL, PROBABILITY = "predicted", "label", "probability"
MARGIN, DISAGREEMENT, LIKENESS = "margin", "disagreement", "likeness"

DESCENDING = frozenset({PROBABILITY})
"""Orders that begin with the highest number."""

BY_PREDICTION = frozenset({PREDICTED, PROBABILITY, MARGIN, DISAGREEMENT, LIKENESS})
"""Orders in which predictions have a say."""

GROUPED = frozenset({PREDICTED, LABEL, SOURCE, DISAGREEMENT})
"""Orders in which like specimens form a group with a title."""


_AS_ZERO = str.maketrans("123456789", "000000000")
_DIGITS = re.compile(r"\d+")
_DIGITS_OF_ALL = 12  # that numbers in names are filled up to
_KINDS = 64  # ways in which names are built; where there are more, each is filled up by itself
_AFTER_ALL = 2**14  # the unsure come after every class


@dataclass(frozen=True)
class Order:
    """By what the specimens are sorted, from which end, and for likeness, to which specimen."""

    by: str = OPENED
    descending: bool = False
    anchor: int = NOT_KNOWN


def sort_key(order: Order, rows: Rows, shown: Words) -> NDArray[np.float64]:
    """Return a number for each row to sort it by; NaN for blanks, which come last.

    Parameters
    ----------
    order : Order
    rows : Rows
    shown : Words
        The predictions that the table shows: the place of a hidden one must not tell of it.
    """
    predicted = shown.predicted
    if order.by in (NAME, SOURCE):
        return natural_ranks(rows.name if order.by == NAME else rows.source)
    if order.by == STATUS:
        return shown.status.astype(float)
    if order.by == PROBABILITY:
        return np.where(predicted == NOT_KNOWN, np.nan, shown.probability)
    if order.by == MARGIN:
        return np.where(predicted == NOT_KNOWN, np.nan, margins(shown.probabilities))
    if order.by == LIKENESS:
        return unlikeness(shown.probabilities, order.anchor)
    if order.by == DISAGREEMENT:
        known = (rows.label != NOT_KNOWN) & (predicted != NOT_KNOWN)
        # Among those at odds, the prediction that is surest of itself comes first.
        key = np.where(rows.label != predicted, 0.5 * (1 - shown.probability), 1.0)
        return np.where(known, key, np.nan)
    if order.by in (PREDICTED, LABEL):
        codes = predicted if order.by == PREDICTED else np.where(rows.unsure, _AFTER_ALL, rows.label)
        return np.where(codes == NOT_KNOWN, np.nan, codes.astype(float))
    return np.arange(len(rows), dtype=float)


def margins(probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return by how much the likeliest class leads the next, (n,): little where the classifier wavers."""
    if probabilities.shape[1] < 2:
        return np.full(len(probabilities), np.nan)
    next_, first = np.partition(probabilities, -2, axis=1)[:, -2:].T.astype(float)
    return first - next_


def unlikeness(features: NDArray[np.floating], anchor: int) -> NDArray[np.float64]:
    """Return each row's cosine distance from one of them, (n,); NaN where there are no numbers.

    Parameters
    ----------
    features : (n, d) floats
        The class probabilities, where nothing is measured: specimens are alike that the classifier sees alike.
    anchor : int
    """
    if not 0 <= anchor < len(features):
        return np.full(len(features), np.nan)
    exact = features.astype(float)  # a sure classifier's probabilities are alike to the last digits of a float32
    lengths = np.linalg.norm(exact, axis=1) * np.linalg.norm(exact[anchor])
    with np.errstate(invalid="ignore", divide="ignore"):
        return 1 - (exact @ exact[anchor]) / lengths


def natural_ranks(names: NDArray[np.object_]) -> NDArray[np.float64]:
    """Rank names so that "2" comes before "10"; NaN for blanks."""
    texts = [name.casefold() for name in names.tolist()]
    if _in_order(texts):  # as a folder is listed: the rest takes 0.1 s for 100,000
        return np.arange(len(texts), dtype=float)
    once = list(dict.fromkeys(texts))
    if len(once) < len(texts):
        padded = dict(zip(once, _padded(once), strict=True))
        texts = [padded[text] for text in texts]
    else:
        texts = _padded(texts)
    order = sorted(range(len(texts)), key=texts.__getitem__)  # quick where they are in order already
    ordered = [texts[place] for place in order]
    ranks = np.full(len(texts), np.nan)
    ranks[order] = np.cumsum([False, *map(ne, ordered[1:], ordered)][: len(texts)])
    ranks[[not text for text in texts]] = np.nan
    return ranks


def _in_order(texts: list[str]) -> bool:
    """Tell whether names rise already, each above the one before."""
    kinds = "\n".join(texts).translate(_AS_ZERO).split("\n")
    alike = list(map(eq, kinds, kinds[1:]))  # with the one before: then letters tell the order
    others = [place for place, same in enumerate(alike) if not same]
    if len(kinds) != len(texts) or not all(texts[:1]) or len(others) > _KINDS:
        return False
    if not all(above or not same for above, same in zip(map(lt, texts, texts[1:]), alike, strict=True)):
        return False
    return all(_DIGITS.sub(_pad, texts[one]) < _DIGITS.sub(_pad, texts[one + 1]) for one in others)


def _padded(texts: list[str]) -> list[str]:
    """Fill numbers up with zeros: all names at once that are built alike, which are few kinds of 100,000."""
    kinds = "\n".join(texts).translate(_AS_ZERO).split("\n")
    numbered = {kind: number for number, kind in enumerate(dict.fromkeys(kinds))}
    if len(numbered) > _KINDS or len(kinds) != len(texts):
        return [_DIGITS.sub(_pad, text) for text in texts]
    found = np.array(texts, dtype=object)
    of = np.array([numbered[kind] for kind in kinds])
    for kind in range(len(numbered)):
        rows = np.flatnonzero(of == kind)
        numbers = list(_DIGITS.finditer(texts[rows[0]]))
        zeros = [one.start() for one in numbers for _ in range(_DIGITS_OF_ALL - len(one[0]))]
        if zeros:
            letters = np.array([texts[row] for row in rows.tolist()])[:, None].view("U1")
            found[rows] = np.ascontiguousarray(np.insert(letters, zeros, "0", axis=1)).view(
                f"U{letters.shape[1] + len(zeros)}"
            )[:, 0]
    return found.tolist()


def _pad(digits: re.Match[str]) -> str:
    return digits[0].zfill(_DIGITS_OF_ALL)


def group_starts(key: NDArray[np.float64]) -> NDArray[np.intp]:
    """Find where groups begin in a sorted key: at each new whole number, and at the blanks."""
    whole = np.where(np.isnan(key), np.inf, np.floor(key))
    return np.flatnonzero(np.r_[True, whole[1:] != whole[:-1]][: len(key)])


def group_title(by: str, rows: Rows, specimen: int, predicted: int, classes: Sequence[str]) -> str:
    """Name the group that a specimen is in; `predicted` is the class that is shown for it, -1 for none."""
    label = int(rows.label[specimen])
    if by == SOURCE:
        return str(rows.source[specimen]) or "no source"
    if by == PREDICTED:
        return f"predicted {classes[predicted]}" if predicted != NOT_KNOWN else "not predicted"
    if by == LABEL and rows.unsure[specimen]:
        return "unsure"
    if by == LABEL:
        return f"labelled {classes[label]}" if label != NOT_KNOWN else "not labelled"
    if NOT_KNOWN in (label, predicted):
        return "without a label or a prediction"
    return "label and prediction agree" if label == predicted else "label and prediction differ"
