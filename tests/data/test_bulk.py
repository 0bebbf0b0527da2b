from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from io import FileIO

import numpy as np
import pytest

from napari_ctc.data import bulk as bulk_module
from napari_ctc.data.bulk import read_bulk
from napari_ctc.data.manifest import Manifest
from napari_ctc.data.room import Room
from napari_ctc.data.specimens import Layout, read_specimen, split_key
from napari_ctc.errors import SpecimenError

PIXELS = np.random.default_rng(0).integers(0, 250, (5, 12, 10, 4), dtype=np.uint8)

SETS = {
    "alike": {f"{place}.npy": one for place, one in enumerate(PIXELS)},
    "a stack": {"stack.npy": PIXELS},
    "stacks in another order": {"f.npy": np.asfortranarray(PIXELS), "big.npy": PIXELS.astype(">u2")},
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
def test_many_at_once_are_read_as_one_by_one_and_digested(tmp_path, files):
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
            digested = content if index is None else np.load(tmp_path / name)[index].tobytes()
            assert found.digests[place] == hashlib.sha256(digested).hexdigest()
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


def test_files_that_turn_out_otherwise_among_alike_ones_are_read_as_they_are(tmp_path):
    alike = PIXELS[0]
    turned = np.asfortranarray(alike)  # as large a file, with another header
    cut = alike[:-1]
    with_more = tmp_path / "4.npy"
    stored = [alike, alike, turned, cut, alike, alike, alike[None]]  # the last is a stack of one, as large as one
    for place, one in enumerate(stored):
        np.save(tmp_path / f"{place}.npy", one)
    with with_more.open("ab") as file:
        file.write(b"something else")
    keys = [f"{place}.npy" for place in range(7)]
    found = read_bulk(tmp_path, keys)
    assert not any(found.reasons)
    assert [one.shape for one in found.images] == [alike.shape] * 3 + [cut.shape] + [alike.shape] * 3
    for image, expected in zip(found.images, stored, strict=True):
        np.testing.assert_array_equal(image, expected.reshape(image.shape))
    assert found.digests == [hashlib.sha256((tmp_path / key).read_bytes()).hexdigest() for key in keys]


def test_a_room_is_used_again_and_what_was_read_is_right_until_then(tmp_path):
    for place, one in enumerate(PIXELS[:4]):
        np.save(tmp_path / f"{place}.npy", one)
    room = Room()
    first = read_bulk(tmp_path, ["0.npy", "1.npy"], room=room)
    np.testing.assert_array_equal(first.images, PIXELS[:2])
    second = read_bulk(tmp_path, ["2.npy", "3.npy"], room=room)
    np.testing.assert_array_equal(second.images, PIXELS[2:4])
    assert np.shares_memory(first.images, second.images)


def test_a_stack_that_is_cut_short_between_two_batches_is_told_and_the_program_goes_on(tmp_path):
    np.save(tmp_path / "stack.npy", PIXELS)
    assert list(read_bulk(tmp_path, ["stack.npy#0", "stack.npy#1"]).readable) == [0, 1]
    os.truncate(tmp_path / "stack.npy", 1000)
    found = read_bulk(tmp_path, ["stack.npy#2", "stack.npy#3"])
    assert list(found.readable) == []
    assert "stack.npy is cut short" in found.reasons[0]


LARGE = """
import resource, sys
from pathlib import Path
import numpy as np
from napari_ctc.data.bulk import read_bulk
from napari_ctc.data.manifest import Manifest
from napari_ctc.data.stacks import SpecimenStack

def read_so_far():
    return int(Path("/proc/self/io").read_text().split()[1])

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

path = Path(sys.argv[1])
before, read = peak(), read_so_far()
manifest = Manifest.open(path)
stack = SpecimenStack(manifest, memory=2**25)
stack.contrast()
stack.frame(0), stack.frame(len(stack) - 1)
read_bulk(path.parent, manifest.keys[:4])
print(read_so_far() - read)
for start in range(0, len(manifest), 4):
    bulk = read_bulk(path.parent, manifest.keys[start : start + 4])
    assert len(bulk.readable) == 4 and bulk.digests[0] == bulk.digests[3]
print(read_so_far() - read, peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks the system what was read")
def test_a_stack_is_never_in_memory_as_a_whole_and_its_first_rows_come_before_its_last_are_read(tmp_path):
    path, shape, one = tmp_path / "stack.npy", (400, 1024, 768, 4), 1024 * 768 * 4
    with path.open("wb") as file:  # 1.2 GB of zeros that take no place on the disk
        np.lib.format.write_array_header_1_0(file, {"shape": shape, "fortran_order": False, "descr": "|u1"})
        file.truncate(file.tell() + 400 * one)
    told = subprocess.run([sys.executable, "-c", LARGE, path], capture_output=True, text=True, check=True)
    first, whole, memory = map(int, told.stdout.split())
    assert first < 80 * one  # 64 of them for the contrast
    assert whole > 400 * one
    assert memory < 70 * one
