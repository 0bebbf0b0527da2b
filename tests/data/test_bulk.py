from __future__ import annotations

import hashlib
from io import FileIO

import numpy as np
import pytest

from napari_ctc.data import bulk as bulk_module
from napari_ctc.data.bulk import read_bulk
from napari_ctc.data.manifest import Manifest
from napari_ctc.data.specimens import Layout, read_specimen, split_key
from napari_ctc.errors import SpecimenError

PIXELS = np.random.default_rng(0).integers(0, 250, (5, 12, 10, 4), dtype=np.uint8)

SETS = {
    "alike": {f"{place}.npy": one for place, one in enumerate(PIXELS)},
    "a stack": {"stack.npy": PIXELS},
    "channels first": {f"{place}.npy": np.moveaxis(one, -1, 0) for place, one in enumerate(PIXELS)},
    "of several kinds": {
        "a.npy": PIXELS[0],
        "b.npy": PIXELS[1].astype(">u2"),
        "c.npy": np.asfortranarray(PIXELS[2]),
        "d.npy": PIXELS[3, :8],
        "e.npy": PIXELS[:3],
        "f.npy": PIXELS[4] > 100,
    },
    "broken": {
        "a.npy": PIXELS[0].astype(np.float32),
        "b.npy": np.full((12, 10, 4), np.nan, np.float32),
        "c.npy": PIXELS[0, ..., :3],
        "d.npy": PIXELS[1].astype(np.float32),
    },
}


@pytest.mark.parametrize("files", SETS.values(), ids=SETS)
def test_many_at_once_are_read_as_one_by_one_and_digested_whole(tmp_path, files):
    for name, pixels in files.items():
        np.save(tmp_path / name, pixels)
    (tmp_path / "short.npy").write_bytes((tmp_path / next(iter(files))).read_bytes()[:-7])
    keys = [*Manifest.open(tmp_path).keys, "gone.npy", "short.npy"]
    found = read_bulk(tmp_path, keys)
    images = dict(zip(found.readable.tolist(), found.images, strict=True))
    for place, key in enumerate(keys):
        name, index = split_key(key)
        try:
            expected = read_specimen(tmp_path / name, index, Layout())
        except SpecimenError as problem:
            assert found.reasons[place] == str(problem)
            assert place not in images
            assert found.digests[place] == ""
        else:
            np.testing.assert_array_equal(images[place], expected)
            assert images[place].dtype == expected.dtype
            assert found.reasons[place] == ""
            content = (tmp_path / name).read_bytes()
            assert found.digests[place] == hashlib.sha256(content).hexdigest()
            assert found.sizes[place] == len(content)


def test_a_file_that_grows_while_it_is_read_is_told_and_the_others_are_read(tmp_path, monkeypatch):
    for place, one in enumerate(PIXELS):
        np.save(tmp_path / f"{place}.npy", one)

    class Growing(FileIO):
        def readinto(self, buffer):
            if self.name.endswith("2.npy"):
                with (tmp_path / "2.npy").open("ab") as file:
                    file.write(b"more")
            return super().readinto(buffer)

    monkeypatch.setattr(bulk_module, "FileIO", Growing)
    found = read_bulk(tmp_path, [f"{place}.npy" for place in range(5)])
    assert list(found.readable) == [0, 1, 3, 4]
    assert "2.npy was changed while it was read" in found.reasons[2]
    assert found.digests[2] == ""
