import errno
import io
import pickle
import re

import numpy as np
import pytest

from napari_ctc.data.specimens import (
    Layout,
    content_digest,
    describe,
    keys_of,
    read_specimen,
    split_key,
)
from napari_ctc.errors import SpecimenError, UnreachableError

RNG = np.random.default_rng(3)


def specimen(height=10, width=12, channels=4, dtype=np.uint16):
    return RNG.integers(0, 1000, (height, width, channels)).astype(dtype)


def save(path, array, **options):
    np.save(path, array, **options)
    return path


def bytes_of(array, **options):
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


# ----------------------------------------------------------------------------------- what is understood

SAME = {
    "as it is": lambda array: array,
    "channels first": lambda array: np.ascontiguousarray(array.transpose(2, 0, 1)),
    "channels first, not contiguous": lambda array: array.transpose(2, 0, 1),
    "Fortran order": np.asfortranarray,
    "big-endian": lambda array: array.astype(array.dtype.newbyteorder(">")),
    "little-endian": lambda array: array.astype(array.dtype.newbyteorder("<")),
}


@pytest.mark.parametrize("store", SAME.values(), ids=SAME)
@pytest.mark.parametrize("dtype", ["u1", "u2", "i4", "u8", "f2", "f4", "f8"])
def test_a_specimen_reads_the_same_however_it_is_stored(tmp_path, store, dtype):
    array = (RNG.random((10, 12, 4)) * 200).astype(dtype)
    path = save(tmp_path / "a.npy", store(array))
    read = read_specimen(path)
    assert read.dtype == array.dtype and read.dtype.isnative
    np.testing.assert_array_equal(read, array)
    assert content_digest(read) == content_digest(array)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("first", [False, True], ids=["channels last", "channels first"])
@pytest.mark.parametrize("byte_order", "<>")
def test_a_stack_holds_the_same_specimens_as_single_files(tmp_path, order, first, byte_order):
    stack = RNG.integers(0, 60_000, (5, 10, 12, 4)).astype(f"{byte_order}u2")
    stored = stack.transpose(0, 3, 1, 2) if first else stack
    path = save(tmp_path / "stack.npy", np.array(stored, order=order))
    assert list(keys_of(path, "stack.npy", Layout())) == [f"stack.npy#{index}" for index in range(5)]
    for index in range(5):
        read = read_specimen(path, index)
        np.testing.assert_array_equal(read, stack[index])
        assert read.dtype == np.uint16
        assert content_digest(read) == content_digest(stack[index])


def test_other_channel_counts_and_axes_are_read_when_asked_for(tmp_path):
    np.testing.assert_array_equal(
        read_specimen(save(tmp_path / "one.npy", np.arange(12.0).reshape(3, 4)), layout=Layout(1))[..., 0],
        np.arange(12.0).reshape(3, 4),
    )
    two = specimen(channels=2)
    np.testing.assert_array_equal(read_specimen(save(tmp_path / "two.npy", two), layout=Layout(2)), two)
    square = specimen(4, 9, 4)  # four rows and four channels: only the person can tell
    path = save(tmp_path / "square.npy", square)
    np.testing.assert_array_equal(read_specimen(path, layout=Layout(4, "last")), square)
    np.testing.assert_array_equal(read_specimen(path, layout=Layout(4, "first")), square.transpose(1, 2, 0))


def test_booleans_become_zeros_and_ones(tmp_path):
    read = read_specimen(save(tmp_path / "mask.npy", specimen() > 500))
    assert read.dtype == np.uint8 and set(np.unique(read)) == {0, 1}


def test_the_header_says_what_a_file_holds(tmp_path):
    path = save(tmp_path / "a.npy", np.zeros((3, 4, 20, 30), ">f4"))
    found = describe(path)
    assert (found.count, found.height, found.width, found.channels) == (3, 20, 30, 4)
    assert found.channels_first and found.dtype == np.float32 and found.dtype.isnative


def test_newer_npy_headers_are_read(tmp_path):
    array = specimen()
    for version in ((1, 0), (2, 0), (3, 0)):
        path = tmp_path / f"v{version[0]}.npy"
        with path.open("wb") as file:
            np.lib.format.write_array(file, array, version=version)
        np.testing.assert_array_equal(read_specimen(path), array)


def test_a_file_with_bytes_after_the_array_is_read(tmp_path):
    array = specimen()
    path = tmp_path / "a.npy"
    path.write_bytes(bytes_of(array) + b"trailing")
    np.testing.assert_array_equal(read_specimen(path), array)


def test_keys_name_entries_of_stacks():
    assert split_key("a/b.npy#12") == ("a/b.npy", 12)
    assert split_key("a/b.npy") == ("a/b.npy", None)
    assert split_key("slide#3/b.npy") == ("slide#3/b.npy", None)


@pytest.mark.parametrize("index", ["²", "9" * 5000, "-1", "1_0"])
def test_what_only_looks_like_a_number_names_no_entry(index):
    assert split_key(f"b.npy#{index}") == (f"b.npy#{index}", None)


# ------------------------------------------------------------------------------------- what is refused


class _Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was opened",))


def _structured():
    return np.zeros((8, 9, 4), dtype=[("a", "f4"), ("b", "i2")])


def _with_header(text):
    header = f"{text}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(1000)


WRONG = {
    "empty file": (b"", "is empty"),
    "text renamed": (b"path,label\na.npy,debris\n", "not a NumPy file"),
    "npz renamed": (None, "not a NumPy file"),
    "magic only": (b"\x93NUMPY", "not a NumPy file"),
    "header torn": (bytes_of(specimen())[:40], "damaged header"),
    "header garbled": (bytes_of(specimen()).replace(b"'descr'", b"'dexcr'"), "damaged header"),
    "header of an evil length": (b"\x93NUMPY\x02\x00\xff\xff\xff\x7f" + b" " * 200, "damaged header"),
    "header that is no literal": (
        bytes_of(specimen()).replace(b"(10, 12, 4)", b"__import__ "),
        "damaged header",
    ),
    "header that never ends": (
        bytes_of(specimen()).replace(b"(10, 12, 4), }", b"(10, 12, 4, (  "),
        "damaged header",
    ),
    "more pixels than any machine counts": (
        bytes_of(specimen()).replace(b"(10, 12, 4), }" + b" " * 24, b"(4294967296, 4294967296, 4), }" + b" " * 8),
        "cut short",
    ),
    "header nested deeply": (_with_header("{'shape': (" + "-" * 5000 + "1,)}"), "damaged header"),
    "header nested more deeply": (_with_header("-" * 9000 + "1"), "damaged header"),
    "shape of truth values": (
        bytes_of(specimen()).replace(b"(10, 12, 4), }", b"(True, True, 4), }"),
        "damaged header",
    ),
    "negative shape": (bytes_of(specimen()).replace(b"(10, 12, 4)", b"(-1, 12, 4)"), "damaged header"),
    "unknown version": (b"\x93NUMPY\x09\x00" + bytes_of(specimen())[8:], "damaged header"),
    "pixels torn": (bytes_of(specimen())[:-1], "cut short"),
    "pixels missing": (bytes_of(specimen())[:128], "cut short"),
    "pickle": (pickle.dumps(_Trap()), "pickle"),
    "object dtype": (bytes_of(np.array([[_Trap()]], dtype=object), allow_pickle=True), "Python objects"),
    "complex": (bytes_of(np.zeros((8, 9, 4), np.complex64)), "complex numbers"),
    "structured": (bytes_of(_structured()), "real numbers"),
    "text": (bytes_of(np.full((8, 9, 4), "a")), "real numbers"),
    "dates": (bytes_of(np.zeros((8, 9, 4), "M8[s]")), "real numbers"),
    "no pixels": (bytes_of(np.zeros((0, 9, 4))), "no pixels"),
    "empty stack": (bytes_of(np.zeros((0, 8, 9, 4))), "no pixels"),
    "scalar": (bytes_of(np.float32(3)), r"shape \(\)"),
    "one image": (bytes_of(np.zeros((8, 9))), r"needs 4 channels.*another number of channels"),
    "three channels": (bytes_of(np.zeros((8, 9, 3))), "another number of channels"),
    "five dimensions": (bytes_of(np.zeros((2, 2, 8, 9, 4))), r"\(2, 2, 8, 9, 4\)"),
    "ambiguous": (bytes_of(np.zeros((4, 9, 4))), "--channel-axis at a terminal"),
    "ambiguous stack": (bytes_of(np.zeros((7, 4, 9, 4))), "--channel-axis at a terminal"),
    "not a number": (bytes_of(np.full((8, 9, 4), np.nan)), "288 pixel values"),
    "infinite": (bytes_of(np.full((8, 9, 4), np.inf, "f2")), "NaN or infinite"),
    "infinite long doubles": (bytes_of(np.full((8, 9, 4), np.inf, np.longdouble)), "NaN or infinite"),
}


@pytest.mark.parametrize(("content", "reason"), WRONG.values(), ids=WRONG)
def test_a_wrong_file_is_refused_in_words_that_name_it(tmp_path, content, reason):
    path = tmp_path / "cell 17.npy"
    if content is None:
        np.savez(tmp_path / "a.npz", specimen())
        (tmp_path / "a.npz").rename(path)
    else:
        path.write_bytes(content)
    with pytest.raises(SpecimenError, match=reason) as caught:
        read_specimen(path)
    sentence = str(caught.value)
    assert sentence.startswith("cell 17.npy ")
    assert sentence.endswith((".", ")."))


@pytest.mark.parametrize(("axis", "shape"), [("first", "(4, height, width)"), ("last", "(height, width, 4)")])
def test_where_the_channels_were_said_to_stand_no_other_place_is_offered(tmp_path, axis, shape):
    path = save(tmp_path / "a.npy", np.zeros((8, 9, 4) if axis == "first" else (4, 8, 9)))
    with pytest.raises(
        SpecimenError, match=re.escape(f"4 channels: {shape}, or (number, {shape[1:]} for a stack")
    ):
        read_specimen(path, layout=Layout(4, axis))


def test_a_number_too_large_for_float64_is_refused(tmp_path):
    if np.finfo(np.longdouble).max == np.finfo(np.float64).max:
        pytest.skip("long doubles are doubles here")
    huge = np.full((8, 9, 4), np.finfo(np.longdouble).max)
    with pytest.raises(SpecimenError, match="NaN or infinite"):
        read_specimen(save(tmp_path / "a.npy", huge))


def test_files_that_are_not_there_or_not_ours_are_refused(tmp_path):
    with pytest.raises(SpecimenError, match="does not exist"):
        read_specimen(tmp_path / "gone.npy")
    (tmp_path / "a.tif").write_bytes(b"II*\0")
    with pytest.raises(SpecimenError, match="format that is not read"):
        read_specimen(tmp_path / "a.tif")
    (tmp_path / "folder.npy").mkdir()
    with pytest.raises(SpecimenError, match=r"folder\.npy cannot be opened"):
        read_specimen(tmp_path / "folder.npy")


def test_an_index_must_fit_the_file(tmp_path):
    one, stack = save(tmp_path / "one.npy", specimen()), save(tmp_path / "stack.npy", np.ones((2, 8, 9, 4)))
    with pytest.raises(SpecimenError, match="one specimen"):
        read_specimen(one, 0)
    with pytest.raises(SpecimenError, match="stack of 2"):
        read_specimen(stack)
    with pytest.raises(SpecimenError, match="no number 2"):
        read_specimen(stack, 2)


@pytest.mark.parametrize("shape", [(1, 8, 9, 4), (1, 4, 8, 9)])
def test_a_stack_of_one_is_that_one_by_the_files_name_alone(tmp_path, shape):
    pixels = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    path = save(tmp_path / "one.npy", pixels)
    np.testing.assert_array_equal(read_specimen(path), read_specimen(path, 0))
    assert read_specimen(path).shape == (8, 9, 4)


def failing(error):
    def read(*_, **__):
        raise error

    return read


@pytest.mark.parametrize(
    ("read", "kind", "why"),
    [
        (failing(OSError(errno.EIO, "Input/output error")), UnreachableError, "Input/output error. Check"),
        (lambda *_, **__: np.zeros(7, np.uint16), UnreachableError, "only a part of it could be read"),
        (failing(MemoryError()), UnreachableError, "memory is full"),
        (failing(OSError("a library's word for a damaged file")), SpecimenError, "Copy or save it again"),
    ],
    ids=["a disk that fails", "a disk that fails in silence", "full memory", "a damaged file"],
)
def test_what_lies_with_the_system_is_told_from_what_lies_with_the_file(tmp_path, monkeypatch, read, kind, why):
    path = save(tmp_path / "a.npy", specimen())
    monkeypatch.setattr(np, "fromfile", read)
    with pytest.raises(SpecimenError, match=why) as refused:
        read_specimen(path)
    assert type(refused.value) is kind


def test_reading_leaves_no_file_open(tmp_path):
    path = save(tmp_path / "stack.npy", np.asfortranarray(np.ones((3, 8, 9, 4))))
    read = read_specimen(path, 1)
    path.unlink()  # fails on Windows while a map or a handle is open
    assert read.sum() == 288
    assert read.base is None or not isinstance(read.base, np.memmap)


def test_pixels_are_the_callers_to_change(tmp_path):
    path = save(tmp_path / "a.npy", specimen())
    read_specimen(path)[:] = 0
    assert read_specimen(path).any()
