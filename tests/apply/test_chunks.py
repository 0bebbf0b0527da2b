from __future__ import annotations

import pickle

import numpy as np
import pytest

from napari_ctc.apply.chunks import Chunk, ChunkSettings, classify_chunk
from napari_ctc.apply.elsewhere import opened
from napari_ctc.apply.inference import classify
from napari_ctc.errors import ClassifierError
from napari_ctc.events import run
from napari_ctc.learn.ways import Way


def test_a_chunk_of_plain_values_says_what_the_job_says_and_travels(drawn_manifest, tiny_classifier):
    reading = tiny_classifier.reading()
    settings = ChunkSettings(
        str(drawn_manifest.root), drawn_manifest.layout, Way("float32"), 8, reading, device="cpu"
    )
    chunk = Chunk([*drawn_manifest.keys[3:20], "gone.npy"], settings)
    function, chunk = pickle.loads(pickle.dumps((classify_chunk, chunk)))
    columns = pickle.loads(pickle.dumps(function(opened(tiny_classifier.to_bytes()), chunk)))
    same = {"precision": "float32", "batch_size": 8, "device": "cpu"}
    whole = run(classify(drawn_manifest.rows(range(3, 20)), tiny_classifier, **same))
    for place in range(len(tiny_classifier.classes)):
        np.testing.assert_allclose(columns[f"p_{place}"].to_numpy()[:-1], whole.probabilities[:, place], atol=1e-6)
    assert columns["sha256"].to_pylist()[:-1] == list(whole.table["sha256"])
    assert columns["called"].to_pylist()[-1] == -1
    assert "gone.npy does not exist" in columns["error"].to_pylist()[-1]


def test_a_classifier_that_is_damaged_on_its_way_is_refused(tiny_classifier):
    data = bytearray(tiny_classifier.to_bytes())
    data[-3] ^= 1
    with pytest.raises(ClassifierError, match="changed or damaged"):
        opened(bytes(data))
