import copy
import itertools
import os
import threading
import time

import numpy as np
import pytest

from napari_ctc.data import channels, survey
from napari_ctc.data.frames import fit_to_frame
from napari_ctc.data.manifest import Manifest
from napari_ctc.data.specimens import Layout
from napari_ctc.data.stacks import SpecimenStack
from napari_ctc.errors import SpecimenError

RNG = np.random.default_rng(5)


def write(folder, arrays):
    folder.mkdir(exist_ok=True)
    for number, array in enumerate(arrays):
        np.save(folder / f"{number}.npy", array)
    return folder


def open_stack(folder, layout=Layout(), **options):
    return SpecimenStack(Manifest.open(folder, layout), **options)


@pytest.fixture
def arrays():
    return RNG.integers(0, 60_000, (7, 12, 14, 4)).astype(np.uint16)


@pytest.fixture
def stack(arrays, tmp_path):
    return open_stack(write(tmp_path / "set", arrays))


def test_it_has_the_shape_and_type_of_its_specimens(stack):
    assert stack.shape == (7, 12, 14) and len(stack) == 7 and stack.channels == 4
    assert stack.dtype == np.uint16 and stack.notes == ()
    assert stack.keys == [f"{number}.npy" for number in range(7)]
    view = stack.channel(2)
    assert (view.shape, view.dtype, view.ndim, len(view), view.size) == ((7, 12, 14), np.uint16, 3, 7, 7 * 12 * 14)


INDICES = [
    0,
    -1,
    np.int64(3),
    np.uint8(2),
    slice(None),
    slice(1, 6, 2),
    slice(None, None, -3),
    slice(5, 2),
    (),
    Ellipsis,
    (2, Ellipsis),
    (Ellipsis, 3),
    (Ellipsis, slice(2, 5), 0),
    (1, 2, 3),
    (slice(None), 4, slice(2, 9, 3)),
    (slice(2, 4), slice(None, None, -1), -1),
    (slice(0, 3), 5, 6),
    (np.int64(2), slice(None), slice(None)),
    [0, 3],
    np.array([6, 0, 0]),
    np.array([True, False] * 3 + [True]),
    ([1, 2], slice(3, 5)),
    (3, [1, 2], [3, 4]),
    (slice(0, 2), [1, 2], [3, 4]),
    (slice(None), slice(None), np.array([0, 2])),
]


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_it_is_indexed_like_an_array(stack, arrays, index):
    for channel in range(4):
        found = stack.channel(channel)[index]
        np.testing.assert_array_equal(found, arrays[..., channel][index])
        assert found.dtype == np.uint16


@pytest.mark.parametrize("index", [7, -8, (0, 0, 0, 0), (0, 12), None, (0, None), "a", 1.5], ids=str)
def test_an_index_that_no_array_takes_is_refused(stack, index):
    with pytest.raises((IndexError, TypeError)):
        stack.channel(0)[index]


def test_a_small_stack_becomes_an_array(stack, arrays):
    np.testing.assert_array_equal(np.asarray(stack.channel(1)), arrays[..., 1])
    assert np.asarray(stack.channel(1), dtype=float).dtype == float
    assert np.array(stack.channel(1)).mean() == arrays[..., 1].mean()
    assert sum(1 for _ in stack.channel(0)) == 7


def test_a_step_reads_one_file_for_all_channels(stack):
    for step in (3, 4, 3):
        for channel in range(4):
            stack.channel(channel)[step, :, :]
    assert stack.reads == 2


def test_channels_shown_from_threads_share_one_reading(stack, monkeypatch):
    read = Manifest.specimen
    monkeypatch.setattr(Manifest, "specimen", lambda self, row: (time.sleep(0.05), read(self, row))[1])
    threads = [threading.Thread(target=stack.channel(channel).__getitem__, args=(2,)) for channel in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stack.reads == 1


def test_memory_holds_only_what_was_shown_lately(tmp_path, arrays):
    frame = arrays[0].nbytes
    stack = open_stack(write(tmp_path / "set", arrays), memory=3 * frame)
    for row in range(7):
        stack.channel(0)[row]
    assert stack.kept_bytes == 3 * frame
    for row in (4, 5, 6):
        stack.channel(1)[row]
    assert stack.reads == 7
    stack.channel(1)[0]
    assert stack.reads == 8 and stack.kept_bytes == 3 * frame
    tiny = open_stack(tmp_path / "set", memory=1)
    for channel in range(4):
        tiny.channel(channel)[2]
    assert tiny.reads == 1  # the one that is shown is kept, however large


def test_a_changed_file_is_read_again(tmp_path, stack, arrays):
    path = tmp_path / "set/3.npy"
    assert (stack.channel(0)[3] == arrays[3, ..., 0]).all()
    before = path.stat()
    np.save(path, arrays[4])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))
    assert (stack.channel(0)[3] == arrays[4, ..., 0]).all()
    assert stack.reads == 2


# --------------------------------------------------------------------------------- unequal specimens


def test_unequal_specimens_are_centred_padded_with_background_and_it_says_so(tmp_path):
    small = np.full((5, 6, 4), (10, 20, 30, 40), np.uint8)
    small[1:4, 2:4] = 200
    large = RNG.integers(0, 255, (8, 9, 4)).astype(np.uint8)
    stack = open_stack(write(tmp_path / "set", [small, large]))
    assert stack.shape == (2, 8, 9)
    assert "from 5 x 6 up to 8 x 9 pixels" in stack.notes[0] and "view only" in stack.notes[0]
    np.testing.assert_array_equal(stack.frame(1), large.transpose(2, 0, 1))
    frame = stack.frame(0)
    np.testing.assert_array_equal(frame[:, 1:6, 1:7], small.transpose(2, 0, 1))
    frame = frame.copy()
    frame[:, 1:6, 1:7] = np.array([10, 20, 30, 40])[:, None, None]
    assert (frame == np.array([10, 20, 30, 40])[:, None, None]).all()
    assert (stack.manifest.specimen(0) == small).all()


def test_a_specimen_larger_than_the_view_is_cropped_around_its_centre(monkeypatch, tmp_path):
    monkeypatch.setattr(survey, "MOST_LOOKED_AT", 2)  # of three files, the first and the last are asked
    large = RNG.integers(0, 255, (9, 10, 4)).astype(np.uint8)
    stack = open_stack(write(tmp_path / "set", [large[:5, :6], large, large[:5, :6]]))
    assert stack.shape == (3, 5, 6)
    np.testing.assert_array_equal(stack.frame(1), large[2:7, 2:8].transpose(2, 0, 1))
    assert "2 of 3" in stack.notes[0]


def test_types_are_joined_so_that_no_value_changes(tmp_path):
    arrays = [np.full((5, 6, 4), -3, np.int8), np.full((5, 6, 4), 60_000, np.uint16)]
    stack = open_stack(write(tmp_path / "set", arrays))
    assert stack.dtype == np.int32
    assert stack.frame(0).min() == -3 and stack.frame(1).max() == 60_000
    half = open_stack(write(tmp_path / "half", [np.full((5, 6, 4), 0.5, np.float16)]))
    assert half.dtype == np.float32 and half.frame(0).max() == 0.5


@pytest.mark.parametrize(
    ("value", "given", "wanted", "expected"),
    [
        (300, "u2", "u1", 255),
        (-5, "i2", "u1", 0),
        (-5, "i8", "u8", 0),
        (2**63 + 9, "u8", "i8", 2**63 - 1),
        (2**40, "i8", "u2", 65_535),
        (1e30, "f4", "u1", 255),
        (-1e30, "f8", "i2", -(2**15)),
        (1e30, "f8", "i8", 2**63 - 1),
        (1e30, "f8", "u8", 2**64 - 1),
        (1e30, "f4", "i4", 2**31 - 1),
        (1e300, "f8", "f4", float(np.finfo("f4").max)),
        (7, "u1", "f4", 7),
    ],
)
def test_values_beyond_the_type_are_clipped_and_never_wrap(value, given, wanted, expected):
    frame = fit_to_frame(np.full((3, 4, 2), value, given), 5, 5, wanted)
    assert frame.dtype == wanted and (frame == np.array(expected, wanted)).all()


# ----------------------------------------------------------------------------------- what goes wrong


def test_an_unreadable_specimen_is_an_empty_frame_and_told_once(tmp_path, arrays):
    folder = write(tmp_path / "set", arrays)
    stack = open_stack(folder)
    told = []
    stack.on_problem.append(lambda key, sentence: told.append((key, sentence)))
    (folder / "2.npy").write_bytes(b"torn")
    (folder / "5.npy").unlink()
    for _, channel in itertools.product(range(2), range(4)):
        assert not stack.channel(channel)[2].any()
        assert not stack.channel(channel)[5].any()
    assert [key for key, _ in told] == ["2.npy", "5.npy"]
    assert "2.npy is not a NumPy file" in told[0][1] and "does not exist" in told[1][1]
    assert (stack.channel(0)[1] == arrays[1, ..., 0]).all()
    np.save(folder / "5.npy", arrays[0])
    assert (stack.channel(0)[5] == arrays[0, ..., 0]).all()


def test_a_file_that_became_a_stack_of_others_is_an_empty_frame(tmp_path, arrays):
    stack = open_stack(write(tmp_path / "set", arrays))
    np.save(tmp_path / "set/1.npy", arrays)
    assert not stack.frame(1).any()


def test_nothing_readable_is_refused(tmp_path):
    folder = tmp_path / "set"
    write(folder, np.ones((3, 8, 9, 4)))
    manifest = Manifest.open(folder)
    for path in folder.iterdir():
        path.write_bytes(b"torn")
    with pytest.raises(SpecimenError, match=r"0\.npy is not a NumPy file.*all 3 that were tried"):
        SpecimenStack(manifest)


def test_a_table_of_files_that_are_gone_is_refused(tmp_path):
    (tmp_path / "labels.csv").write_text("a.npy,x\n")
    with pytest.raises(SpecimenError, match=r"a\.npy does not exist"):
        SpecimenStack(Manifest.open(tmp_path / "labels.csv"))


# ------------------------------------------------------------------------------------------- contrast


def test_contrast_is_measured_over_specimens_spread_over_the_set(tmp_path):
    arrays = np.zeros((200, 6, 7, 2), np.uint16)
    arrays[..., 0] = np.arange(200)[:, None, None]
    arrays[..., 1] = 9
    stack = open_stack(write(tmp_path / "set", arrays), Layout(2))
    (low, high), constant = stack.contrast()
    assert low < 4 and high > 195
    assert tuple(constant) == (9, 10)


def test_contrast_leaves_out_what_cannot_be_read(tmp_path, arrays):
    folder = write(tmp_path / "set", arrays)
    stack = open_stack(folder)
    (folder / "0.npy").write_bytes(b"torn")
    late = SpecimenStack(Manifest.open(folder))
    assert (stack.contrast()[:, 0] < stack.contrast()[:, 1]).all()
    for path in folder.iterdir():
        path.write_bytes(b"torn")
    with pytest.raises(SpecimenError, match=r"0\.npy.*all 7 that were tried"):
        late.contrast()


def test_contrast_of_large_specimens_looks_at_a_part_of_the_pixels(tmp_path):
    large = np.arange(2000 * 1000 * 4, dtype=np.float32).reshape(2000, 1000, 4)
    limits = open_stack(write(tmp_path / "set", [large])).contrast()
    np.testing.assert_allclose(limits[0], np.percentile(large[..., 0], (0.1, 99.9)), rtol=0.02, atol=2e4)


# ---------------------------------------------------------------------------------------------- scale


def test_channel_names_are_used_when_there_is_one_for_each(tmp_path, arrays):
    folder = write(tmp_path / "set", arrays)
    assert open_stack(folder, channel_names="abcd").channel_names == ("a", "b", "c", "d")
    assert open_stack(folder, channel_names="abc").channel_names[3] == "Channel 4"


def test_copies_share_files_and_memory(stack):
    view = copy.deepcopy(stack.channel(1))
    assert view.stack is stack


def test_frames_cannot_be_written_to(stack):
    with pytest.raises(ValueError, match="read-only"):
        stack.channel(0)[0][:] = 0


def test_ten_thousand_specimens_open_without_reading_any(tmp_path):
    for number in range(100):
        (tmp_path / f"{number:02d}").mkdir()
    blank = np.zeros((16, 16, 4), np.uint8)
    first = tmp_path / "first.npy"
    np.save(first, blank)
    content = first.read_bytes()
    for number in range(9_999):
        (tmp_path / f"{number // 100:02d}/{number}.npy").write_bytes(content)
    begin = time.perf_counter()
    stack = open_stack(tmp_path)
    stack.channel(0)[0]
    seconds = time.perf_counter() - begin
    assert stack.shape == (10_000, 16, 16) and stack.reads == 1
    assert seconds < 10  # 0.9 s on an idle machine; benchmarks/reader.py measures it
    for row in range(100, 120):
        for channel in range(4):
            stack.channel(channel)[row]
    assert stack.reads == 21


def test_an_index_that_would_read_too_much_is_refused_and_an_array_of_it_is_not(stack, arrays, monkeypatch):
    monkeypatch.setattr(channels, "MOST_AT_ONCE", 3 * 12 * 14 * 2)
    view = stack.channel(1)
    np.testing.assert_array_equal(view[2:5], arrays[2:5, ..., 1])
    before = stack.reads
    for index in ((slice(None),) * 3, (slice(None), 4), slice(0, 4)):
        with pytest.raises(SpecimenError, match="side by side"):
            view[index]
    assert stack.reads == before
    np.testing.assert_array_equal(np.asarray(view), arrays[..., 1])
