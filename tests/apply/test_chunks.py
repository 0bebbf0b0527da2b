from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from napari_ctc.apply.chunks import ChunkSettings, ClassifierFile, classify_chunk
from napari_ctc.apply.inference import classify
from napari_ctc.errors import ClassifierError
from napari_ctc.events import run
from napari_ctc.learn.ways import Way


def test_a_chunk_of_plain_values_says_what_the_job_says_and_travels(drawn_manifest, tiny_classifier, tmp_path):
    tiny_classifier.save(tmp_path / "c.safetensors")
    reading = tiny_classifier.reading()
    settings = ChunkSettings(
        str(drawn_manifest.root), drawn_manifest.layout, Way("float32"), 8, reading, device="cpu"
    )
    file = ClassifierFile(str(tmp_path / "c.safetensors"), tiny_classifier.digest)
    call = pickle.loads(pickle.dumps((classify_chunk, file, [*drawn_manifest.keys[3:20], "gone.npy"], settings)))
    columns = pickle.loads(pickle.dumps(call[0](*call[1:])))
    whole = run(classify(drawn_manifest.rows(range(3, 20)), tiny_classifier, precision="float32", batch_size=8))
    for place in range(len(tiny_classifier.classes)):
        np.testing.assert_allclose(columns[f"p_{place}"].to_numpy()[:-1], whole.probabilities[:, place], atol=1e-6)
    assert columns["sha256"].to_pylist()[:-1] == list(whole.table["sha256"])
    assert columns["called"].to_pylist()[-1] == -1
    assert "gone.npy does not exist" in columns["error"].to_pylist()[-1]
    with pytest.raises(ClassifierError, match="was expected"):
        classify_chunk(replace(file, digest="0" * 64), drawn_manifest.keys[:1], settings)
