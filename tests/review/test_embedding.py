from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from napari_ctc.data.manifest import Manifest
from napari_ctc.data.specimens import Layout
from napari_ctc.errors import ClassifierError, Stopped
from napari_ctc.events import Measured, Skipped, run
from napari_ctc.review.embedding import embed


def test_the_last_layer_makes_the_networks_scores_of_the_features(drawn_manifest, tiny_classifier):
    values = run(embed(drawn_manifest, tiny_classifier))
    assert values.shape == (60, 128) and np.isfinite(values).all()
    canvas = tiny_classifier.canvas
    images = canvas.to_input(canvas.batch([drawn_manifest.specimen(row) for row in range(5)]), torch.device("cpu"))
    last = tiny_classifier.network_module[-1]
    with torch.inference_mode():
        scores = tiny_classifier.network_module(images)
        assert torch.allclose(last(torch.from_numpy(values[:5])), scores, atol=1e-4)


def test_an_unreadable_specimen_is_a_row_of_nan(own_folder, tiny_classifier):
    manifest = Manifest.open(own_folder / "manifest.csv")
    (own_folder / manifest.keys[3]).write_bytes(b"nothing")
    events = []
    values = run(embed(manifest, tiny_classifier), events.append)
    assert [event.path for event in events if isinstance(event, Skipped)] == [manifest.keys[3]]
    assert np.flatnonzero(np.isnan(values).any(axis=1)).tolist() == [3]


def test_a_stopped_job_keeps_what_it_has_and_another_goes_on(drawn_manifest, tiny_classifier):
    job = embed(drawn_manifest, tiny_classifier)
    first = next(job)
    with pytest.raises(StopIteration) as ended:
        job.throw(Stopped())
    partly = ended.value.value
    assert np.isfinite(partly[: len(first.rows)]).all() and np.isnan(partly[len(first.rows) :]).all()
    events = []
    assert np.isfinite(run(embed(drawn_manifest, tiny_classifier, partly), events.append)).all()
    assert sum(len(event.rows) for event in events if isinstance(event, Measured)) == 60 - len(first.rows)


def test_another_number_of_channels_is_refused(drawn_folder, tiny_classifier):
    with pytest.raises(ClassifierError, match="trained on specimens of 4 channels, and these have 3"):
        run(embed(Manifest.open(drawn_folder / "manifest.csv", Layout(3)), tiny_classifier))


def test_the_room_is_entered_without_torch():
    code = (
        "import sys, napari_ctc.review.embedding, napari_ctc.review.features, napari_ctc.review.head, "
        "napari_ctc.review.queue, napari_ctc.review.audit; "
        "print([name for name in ('torch', 'scipy', 'sklearn', 'skimage') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"
