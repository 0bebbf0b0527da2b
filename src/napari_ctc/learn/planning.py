"""What a training run will do, known before a pixel is read: its counts and weights.

No torch, which takes a second or two to import: a window shows this while a person labels. Sizes and steps are in
`schedule`.
"""

from __future__ import annotations

from napari_ctc.data.manifest import Manifest
from napari_ctc.events import Planned
from napari_ctc.learn.deal import Deal, deal_out
from napari_ctc.learn.weights import class_weights
from napari_ctc.settings import TrainSettings


def check_settings(
    manifest: Manifest, settings: TrainSettings = TrainSettings(), validation: Manifest | None = None
) -> list[str]:
    """Refuse what cannot work, before anything starts; fast, since no file is opened.

    Parameters
    ----------
    manifest : Manifest
    settings : TrainSettings
    validation : Manifest, optional

    Returns
    -------
    list of str
        Sentences worth reading before the run, such as a class with few specimens.

    Raises
    ------
    SettingsError
        With the reason and what to do.
    """
    deal = deal_out(manifest, settings, validation)
    return list(deal.notes)


def plan(
    manifest: Manifest, settings: TrainSettings = TrainSettings(), validation: Manifest | None = None
) -> Planned:
    """Say what a run would do: its counts and weights. No file is opened.

    So nobody knows yet which specimens a classifier to start from has seen, or which are copies: a run may hold
    out others or fewer than this, and says so once it has read them.

    Raises
    ------
    SettingsError
    """
    return planned(deal_out(manifest, settings, validation), settings)


def planned(deal: Deal, settings: TrainSettings, device: str = "") -> Planned:
    """Make the event that tells a deal, and on which device it will be trained where that is known."""
    counts = deal.counts(deal.training_truth)
    return Planned(
        classes=deal.classes,
        training=counts,
        validation=deal.counts(deal.validation_truth),
        test=deal.test,
        weights=tuple(float(weight) for weight in class_weights(counts, settings.weighting)),
        device=device,
    )
