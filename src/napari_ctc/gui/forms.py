"""Forms derived from a settings model: each field becomes the box that fits it, and back.

Knows pydantic fields and magicgui, and nothing of what the settings are for: a new field of a model appears in
its form by itself, with its bounds, its description as the tooltip, and its default.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin

from magicgui.widgets import CheckBox, ComboBox, Container, FloatSpinBox, LineEdit, Widget
from pydantic import BaseModel, ValidationError
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QAbstractSpinBox, QComboBox, QLabel, QWidget

from napari_ctc.errors import SettingsError

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

M = TypeVar("M", bound=BaseModel)

WORDS_FOR_ZERO = {"0 chooses": "automatic", "0 sets none": "no limit"}
"""What a box shows instead of a zero whose description says so."""

_FINEST_BOX = 1e-4  # smaller numbers are typed, as 2e-5, since a box of fixed decimals would round them away


def form_of(model: type[BaseModel], names: Iterable[str] | None = None) -> Container[Any]:
    """Make the form of a settings model.

    Parameters
    ----------
    model : type of pydantic.BaseModel
        Its numbers have both bounds, since a box without them ends at magicgui's own.
    names : iterable of str, optional
        The fields to show, in this order; all of them if not given.

    Returns
    -------
    magicgui Container
        A widget a field, named like it, showing the default.
    """
    chosen = list(model.model_fields) if names is None else list(names)
    widgets = [_widget_of(name, model.model_fields[name]) for name in chosen]
    return Container(widgets=widgets, labels=True)


def read_forms(model: type[M], *forms: Container[Any]) -> M:
    """Read settings from one or more forms that share out the fields of a model.

    Raises
    ------
    SettingsError
        Names the field, its value and the bound that it breaks.
    """
    values = {widget.name: widget.value for form in forms for widget in form}
    try:
        return model(**values)
    except ValidationError as problem:
        first = problem.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "settings"
        told = first["msg"][:1].lower() + first["msg"][1:]
        raise SettingsError(
            f"'{label_of(name)}' cannot be {first['input']!r}: {told}. Change it and try again."
        ) from None


def fill_form(form: Container[Any], settings: BaseModel) -> None:
    """Show settings in a form."""
    for widget in form:
        value = getattr(settings, widget.name)
        widget.value = f"{value:g}" if isinstance(widget, LineEdit) and isinstance(value, float) else value


def label_of(name: str) -> str:
    """Return the words that a form shows for a field."""
    return name.replace("_", " ")


def align_labels(*forms: QWidget) -> None:
    """Make the labels of forms as wide as the widest; call it once they are shown, when their font is known."""
    labels = [label for form in forms for label in form.findChildren(QLabel)]
    for label in labels:
        label.ensurePolished()
    width = max((label.sizeHint().width() for label in labels), default=0)
    for label in labels:
        label.setFixedWidth(width)


def keep_wheel_away(widget: QWidget) -> None:
    """Let the wheel scroll the dock, and change a box only after a click into it."""
    if isinstance(widget, (QAbstractSpinBox, QComboBox)):
        widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        widget.installEventFilter(_WheelGuard(widget))


class _WheelGuard(QObject):
    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Wheel and not self.parent().hasFocus():
            event.ignore()
            return True
        return False


def _widget_of(name: str, field: FieldInfo) -> Widget:
    """Make the box of one field."""
    described: dict[str, Any] = {
        "name": name,
        "label": field.title or label_of(name),
        "tooltip": field.description,
        "value": field.default,
    }
    kind = field.annotation
    if kind is bool:
        widget: Widget = CheckBox(text=described.pop("label"), **described)
    elif get_origin(kind) is Literal:
        widget = ComboBox(choices=list(get_args(kind)), **described)
    elif kind is int:
        low, high = _bounds(name, field)
        widget = FloatSpinBox(min=low, max=high, step=1, **described)  # magicgui's SpinBox shows no word for zero
        widget.native.setDecimals(0)
    elif kind is float:
        widget = _float_box(described, *_bounds(name, field))
    elif kind is str:
        widget = LineEdit(**described)
    else:
        raise TypeError(f"No box is known for the setting {name!r} of type {kind}; add one in forms.py.")
    if word := next((w for says, w in WORDS_FOR_ZERO.items() if says in (field.description or "")), None):
        widget.native.setSpecialValueText(word)
    widget.native.setObjectName(name)
    keep_wheel_away(widget.native)
    return widget


def _float_box(described: dict[str, Any], low: float, high: float) -> Widget:
    default = described["value"]
    if 0 < low < _FINEST_BOX:
        return LineEdit(**described | {"value": f"{default:g}"})
    step = 10.0 ** (math.floor(math.log10(default)) - 1) if default else 0.1
    return FloatSpinBox(min=low, max=high, step=max(step, _FINEST_BOX), **described)


def _bounds(name: str, field: FieldInfo) -> tuple[float, float]:
    """Return a number's lower and upper bound."""
    found = {key: getattr(rule, key) for rule in field.metadata for key in ("ge", "le") if hasattr(rule, key)}
    if found.keys() != {"ge", "le"}:
        raise TypeError(f"The setting {name!r} needs both bounds, ge and le, for its box.")
    return found["ge"], found["le"]
