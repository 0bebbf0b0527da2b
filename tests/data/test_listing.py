"""A listing finds every file in natural order, and believes files of one size to be alike only when they are."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from napari_ctc.data import listing
from napari_ctc.data.listing import keys_of_files, list_folder
from napari_ctc.data.manifest import Manifest
from napari_ctc.data.specimens import Layout
from napari_ctc.errors import ManifestError, SpecimenError


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
    assert found.unlisted == ()
    assert list(found.files.items()) == [
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
    (tmp_path / "linked.npy").symlink_to(tmp_path / "pipe.npy")
    (tmp_path / "file.npy").write_bytes(b".")
    assert list_folder(tmp_path).files == {"file.npy": 1, "lost.npy": -1}


def write_files(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def test_linked_folders_are_followed_and_each_counts_once_however_often_it_is_reached(tmp_path):
    top = tmp_path / "top"
    write_files(top, "own/0.npy")
    write_files(tmp_path, "disk/9.npy", "disk/10.npy", "disk/in/1.npy")
    (top / "a_own").symlink_to(top / "own")  # under its own name already
    (top / "own" / "round").symlink_to(top)
    (top / "disk2").symlink_to(tmp_path / "disk")
    (top / "disk10").symlink_to(tmp_path / "disk")  # the first counts
    (tmp_path / "disk" / "up").symlink_to(tmp_path)  # reaches all of them once more
    assert list(list_folder(top).files) == ["disk2/9.npy", "disk2/10.npy", "disk2/in/1.npy", "own/0.npy"]
    assert list_folder(top).unlisted == ()


def test_without_links_no_folder_is_asked_who_it_is(tmp_path, monkeypatch):
    write_files(tmp_path, *(f"{place}/{place}.npy" for place in range(5)))
    monkeypatch.setattr(listing, "_identity", None)
    assert len(list_folder(tmp_path).files) == 5


def test_a_link_that_leads_nowhere_is_told_by_its_reader_or_by_the_listing(tmp_path):
    (tmp_path / "lost.npy").symlink_to(tmp_path / "gone.npy")
    (tmp_path / "slide").symlink_to(tmp_path / "a disk that is away")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    found = list_folder(tmp_path)
    assert found.files == {"lost.npy": -1}
    assert [note.split(":")[0] for note in found.unlisted] == ["circle cannot be listed", "slide cannot be listed"]


@pytest.fixture
def refused(monkeypatch):
    """Let the system refuse to list folders, whoever asks."""
    names = set()
    real = os.scandir

    def scandir(place):
        if Path(place).name in names:
            raise PermissionError(errno.EACCES, "Permission denied", place)
        return real(place)

    monkeypatch.setattr(os, "scandir", scandir)
    return names


def test_a_folder_that_cannot_be_listed_is_named_and_the_others_are_listed(many, refused):
    write_files(many, "slide_1/a.npy", "deep/slide_2/b.npy")
    refused |= {"slide_1", "slide_2"}
    manifest = Manifest.open(many)
    assert (len(manifest), manifest.unlisted) == (100, 2)
    assert manifest.notes[0].startswith("deep/slide_2 cannot be listed: Permission denied. Specimens")
    assert manifest.notes[1].startswith("slide_1 cannot be listed")
    assert manifest.rows([0]).unlisted == 2
    refused.add(many.name)
    with pytest.raises(ManifestError, match="cannot be listed: Permission denied"):
        Manifest.open(many)


def test_of_many_folders_that_cannot_be_listed_the_first_are_named(many, refused):
    write_files(many, *(f"s{place}/a.npy" for place in range(25)))
    refused |= {f"s{place}" for place in range(25)}
    notes = Manifest.open(many).notes
    assert [note.split()[0] for note in notes] == [*(f"s{place}" for place in range(10)), "15"]


@pytest.fixture
def many(tmp_path):
    for row in range(100):
        np.save(tmp_path / f"{row}.npy", np.full((6, 8, 4), row, np.uint8))
    return tmp_path


def opened(monkeypatch, folder):
    asked = []
    real = listing.describe
    monkeypatch.setattr(listing, "describe", lambda path, layout: asked.append(path.name) or real(path, layout))
    keys, _, notes = keys_of_files(list_folder(folder).files, folder, Layout())
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
