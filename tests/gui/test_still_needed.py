"""What the dock says is still to be labelled, against what training then deals out."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("napari")

from napari_ctc.data.manifest import Manifest
from napari_ctc.data.splits import split
from napari_ctc.gui.still_needed import needed
from napari_ctc.settings import TrainSettings

NAMES = ("debris", "leukocyte", "tumour cell")


def held_out(labels, sources, seed):
    columns = {"path": [f"{row}.npy" for row in range(len(labels))], "label": labels, "source": sources}
    table = pd.DataFrame(columns | {"split": "", "by": ""}, dtype="str")
    manifest = Manifest(table, Path())
    dealt = split(manifest, TrainSettings().validation_fraction, seed)
    return table["label"].iloc[dealt.validation].value_counts()


@pytest.mark.parametrize("seed", range(3))
def test_what_is_needed_is_what_training_needs_to_hold_two_out(seed):
    for rare in range(2, 12):
        labels = ["debris"] * 20 + ["leukocyte"] * 15 + ["tumour cell"] * rare
        counts = dict(zip(NAMES, (20, 15, rare), strict=True))
        said = needed(NAMES, counts, {name: [""] for name in NAMES})
        held = held_out(labels, [""] * len(labels), seed)["tumour cell"]
        assert (said == "") == (held >= 2)
        if said:
            missing = int(said.split()[0])
            more = [*labels, *["tumour cell"] * missing]
            assert held_out(more, [""] * len(more), seed)["tumour cell"] == 2
            assert held_out(more[:-1], [""] * (len(more) - 1), seed)["tumour cell"] == 1


def test_a_class_of_one_source_is_told_as_the_split_has_it():
    labels = np.repeat(NAMES, 10).tolist()
    for rare_sources in (["slide_1"] * 10, ["slide_1"] * 9 + ["slide_2"], [""] * 10):
        sources = ["slide_1", "slide_2"] * 10 + rare_sources
        of = {name: [one for one, label in zip(sources, labels, strict=True) if label == name] for name in NAMES}
        said = needed(NAMES, dict.fromkeys(NAMES, 10), of)
        both = held_out(labels, sources, 0).get("tumour cell", 0)
        assert (said == "") == (0 < both < 10)
        if said:
            assert said.startswith("Class 3 of another source than slide_1, too, before training can hold any out")
