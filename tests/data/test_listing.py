"""A listing finds every file in natural order, and believes files of one size to be alike only when they are."""

from __future__ import annotations

import os

import numpy as np
import pytest

from napari_ctc.data import listing
from napari_ctc.data.listing import keys_of_files, list_folder
from napari_ctc.data.manifest import Manifest
from napari_ctc.data.specimens import Layout
from napari_ctc.errors import SpecimenError


def test_files_are_found_below_the_folder_in_natural_order_with_their_sizes(tmp_path):
    names = (
        "10.npy",
        "9.npy",
        "a/2.NPY",
        "a/b10.npy",
        "a/b9.npy",
        ".hidden.npy",
        ".git/x.npy",
        "notes.txt",
        "1.npy",
    )
    for place, name in enumerate(names):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"." * place)
    found = list_folder(tmp_path)
    assert list(found.items()) == [
        ("1.npy", 8),
        ("9.npy", 1),
        ("10.npy", 0),
        ("a/2.NPY", 2),
        ("a/b9.npy", 4),
        ("a/b10.npy", 3),
    ]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")
def test_a_pipe_is_left_out_for_opening_it_would_never_end(tmp_path):
    os.mkfifo(tmp_path / "pipe.npy")
    (tmp_path / "lost.npy").symlink_to(tmp_path / "nowhere.npy")
    (tmp_path / "file.npy").write_bytes(b".")
    assert list_folder(tmp_path) == {"file.npy": 1, "lost.npy": -1}


def test_a_link_to_nowhere_is_listed_and_a_linked_folder_is_not_walked(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "0.npy").write_bytes(b"")
    (tmp_path / "real" / "round").symlink_to(tmp_path / "real")
    (tmp_path / "lost.npy").symlink_to(tmp_path / "gone.npy")
    assert list_folder(tmp_path) == {"lost.npy": -1, "real/0.npy": 0}


@pytest.fixture
def many(tmp_path):
    for row in range(100):
        np.save(tmp_path / f"{row}.npy", np.full((6, 8, 4), row, np.uint8))
    return tmp_path


def opened(monkeypatch, folder):
    asked = []
    real = listing.describe
    monkeypatch.setattr(listing, "describe", lambda path, layout: asked.append(path.name) or real(path, layout))
    keys, _, notes = keys_of_files(list_folder(folder), folder, Layout())
    return keys, notes, asked


def test_of_many_files_of_one_size_only_some_are_opened(many, monkeypatch):
    keys, notes, asked = opened(monkeypatch, many)
    assert keys == [f"{row}.npy" for row in range(100)]
    assert len(asked) < 30
    assert notes == ()


def test_stacks_of_one_size_are_all_opened(many, monkeypatch):
    for row in range(100):
        np.save(many / f"{row}.npy", np.zeros((2, 6, 4, 4), np.uint8))
    keys, _, asked = opened(monkeypatch, many)
    assert len(keys) == 200
    assert keys[:3] == ["0.npy#0", "0.npy#1", "1.npy#0"]
    assert set(asked) == {f"{row}.npy" for row in range(100)}


def test_a_file_of_another_size_is_always_opened(many, monkeypatch):
    (many / "33.npy").write_bytes(b"")
    np.save(many / "44.npy", np.zeros((3, 6, 8, 4), np.uint8))
    keys, notes, _ = opened(monkeypatch, many)
    assert len(keys) == 102
    assert "44.npy#2" in keys
    assert "1 of 100 files cannot be read. The first: 33.npy is empty" in notes[0]


def test_a_stack_that_was_not_asked_is_found_out_when_it_is_read(many):
    np.save(many / "1.npy", np.zeros((2, 6, 4, 4), np.uint8))  # as many bytes as one specimen of the others
    manifest = Manifest.from_folder(many)
    with pytest.raises(SpecimenError, match="a stack of 2 specimens"):
        manifest.specimen(1)
