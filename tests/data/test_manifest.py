import sys
import unicodedata

import numpy as np
import pytest

from napari_ctc.data.manifest import Manifest, rebase
from napari_ctc.data.specimens import Layout
from napari_ctc.errors import ManifestError, SpecimenError


def write(folder, text, name="manifest.csv", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def save(path, shape=(8, 9, 4), value=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.full(shape, value, np.uint8))
    return path


def rows(manifest):
    return list(zip(manifest.table["path"], manifest.table["label"], strict=True))


# ------------------------------------------------------------------------------------------ reading

FORMS = {
    "with a header": "path,label\na.npy,debris\nb/c.npy,tumour cell\nd.npy,\n",
    "without a header": "a.npy,debris\nb/c.npy,tumour cell\nd.npy,\n",
    "semicolons": "path;label\na.npy;debris\nb/c.npy;tumour cell\nd.npy;\n",
    "tabs": "path\tlabel\na.npy\tdebris\nb/c.npy\ttumour cell\nd.npy\t\n",
    "byte order mark": "\ufeffpath,label\na.npy,debris\nb/c.npy,tumour cell\nd.npy,\n",
    "byte order mark without a header": "\ufeffa.npy,debris\nb/c.npy,tumour cell\nd.npy,\n",
    "semicolons below a blank line": "\n;\npath;label\na.npy;debris\nb/c.npy;tumour cell\nd.npy;\n",
    "Windows": "path,label\r\na.npy,debris\r\nb\\c.npy,tumour cell\r\nd.npy,\r\n",
    "old Macintosh": "path,label\ra.npy,debris\rb/c.npy,tumour cell\rd.npy,\r",
    "blank lines and spaces": "\n path , label \n\n a.npy , debris \nb/c.npy,tumour cell\n,\n  \nd.npy,\n\n",
    "columns in another order": "label,path,remark\ndebris,a.npy,x\ntumour cell,b/c.npy,\n,d.npy,\n",
    "quotation marks": '"path","label"\n"a.npy","debris"\n"b/c.npy","tumour cell"\n"d.npy",""\n',
    "other case": "Path,LABEL\na.npy,debris\nb/c.npy,tumour cell\nd.npy,\n",
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_a_table_reads_the_same_in_every_form(tmp_path, text):
    manifest = Manifest.read(write(tmp_path, text))
    assert rows(manifest) == [("a.npy", "debris"), ("b/c.npy", "tumour cell"), ("d.npy", "")]
    assert manifest.root == tmp_path
    assert manifest.locate(1) == (tmp_path / "b/c.npy", None)
    assert len(manifest.labelled()) == 2


def test_sources_splits_and_authors_are_kept(tmp_path):
    text = "path,label,source,split,by\na.npy,x,slide 1,training,\nb.npy,y,slide 2,VAL,classifier\nc.npy,,,Test,\n"
    table = Manifest.read(write(tmp_path, text)).table
    assert list(table["source"]) == ["slide 1", "slide 2", ""]
    assert list(table["split"]) == ["train", "validation", "test"]
    assert list(table["by"]) == ["", "classifier", ""]


def test_a_class_may_be_called_na(tmp_path):
    path = write(tmp_path, "path,label\na.npy,NA\nb.npy,null\nc.npy,nan\nd.npy,\n")
    manifest = Manifest.read(path)
    assert manifest.classes == ("NA", "nan", "null")
    manifest.write(path)
    assert rows(Manifest.read(path)) == rows(manifest)


def test_numeric_labels_stay_text_and_are_ordered_as_numbers(tmp_path):
    manifest = Manifest.read(write(tmp_path, "a.npy,10\nb.npy,9\nc.npy,010\n"))
    assert manifest.classes == ("9", "010", "10")  # whatever the order of the rows
    assert list(manifest.counts()) == [1, 1, 1]
    assert list(manifest.labels(("9", "10"))) == [1, 0, -1]


def test_paths_alone_are_unlabelled_specimens(tmp_path):
    assert rows(Manifest.read(write(tmp_path, "a.npy\nb.npy\n"))) == [("a.npy", ""), ("b.npy", "")]
    assert rows(Manifest.read(write(tmp_path, "path\na.npy\n"))) == [("a.npy", "")]


def test_a_specimen_named_twice_alike_counts_once_and_it_says_so(tmp_path):
    manifest = Manifest.read(write(tmp_path, "path,label\na.npy,x\nb.npy,y\na.npy,x\n./a.npy,x\n"))
    assert rows(manifest) == [("a.npy", "x"), ("b.npy", "y")]
    assert "counted once: 2 of the specimens" in manifest.notes[0]


def test_commas_and_line_breaks_inside_cells_are_read(tmp_path):
    manifest = Manifest.read(write(tmp_path, 'path,label\n"a, b.npy","debris, large"\nc.npy,"two\nlines"\n'))
    assert rows(manifest) == [("a, b.npy", "debris, large"), ("c.npy", "two\nlines")]


WRONG = {
    "empty": ("", "is empty"),
    "blank": ("\n ,\n", "is empty"),
    "only a header": ("path,label\n", "names no specimen"),
    "not a table of specimens": ("x,y,area\n1,2,3\n", "line 1: no column is called 'path'"),
    "napari's points": ("index,axis-0,axis-1\n0,1,2\n", "no column is called 'path'"),
    "a header of other names": ("file,class\na.npy,x\n", "no column is called 'path'"),
    "a column twice": ("path,label,label\na.npy,x,y\n", "'label' stands twice"),
    "a cell too many": ("path,label\na.npy,x\nb.npy,y,z\n", "line 3: 3 columns where 2"),
    "a cell too few": ("path,label,source\na.npy,x,s\nb.npy,y\n", "line 3: 2 columns where 3"),
    "two labels for one specimen": (
        "path,label\na.npy,x\n\na.npy,y\n",
        "line 4: a.npy is called 'y'.*'x' on line 2",
    ),
    "two parts for one specimen": (
        "path,label,split\na.npy,x,train\na.npy,x,test\n",
        "line 3: a.npy is marked 'test'.*'train' on line 2",
    ),
    "no path": ("path,label\na.npy,x\n,y\n", "line 3: the path is empty"),
    "another kind of file": ("path,label\na.npy,x\nb.tif,y\n", r"line 3: b\.tif is not a file of a known format"),
    "a folder": ("path,label\nfolder,x\n", "line 2: folder is not a file"),
    "out of the folder": ("path,label\n../a.npy,x\n", r"line 2: \.\./a\.npy leads out"),
    "out of it by a detour": ("path,label\nb/../../a.npy,x\n", "leads out"),
    "out of it in Windows' way": ("path,label\n..\\a.npy,x\n", "leads out"),
    "no part of a split": ("path,label,split\na.npy,x,holdout\n", "line 2: 'holdout' is no part of a split"),
    "an open quotation mark": ('path,label\na.npy,"x\nb.npy,y\n', "quotation marks"),
}


@pytest.mark.parametrize(("text", "reason"), WRONG.values(), ids=WRONG)
def test_an_unusable_table_is_refused_with_its_line(tmp_path, text, reason):
    with pytest.raises(ManifestError, match=reason) as caught:
        Manifest.read(write(tmp_path, text))
    assert str(caught.value).startswith("manifest.csv")


def test_files_that_are_no_text_are_refused(tmp_path):
    with pytest.raises(ManifestError, match="UTF-8"):
        Manifest.read(write(tmp_path, "path,label\na.npy,Größe\n", encoding="latin-1"))
    with pytest.raises(ManifestError, match="UTF-8"):
        Manifest.read(write(tmp_path, "path,label\na.npy,x\n", encoding="utf-16"))
    with pytest.raises(ManifestError, match="does not exist"):
        Manifest.read(tmp_path / "gone.csv")
    (tmp_path / "zeros.csv").write_bytes(b"path,label\na.npy,\0\n")
    with pytest.raises(ManifestError, match="zero bytes"):
        Manifest.read(tmp_path / "zeros.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(ManifestError):
        Manifest.read(tmp_path / "folder.csv")


# ------------------------------------------------------------------------------- folders and files


def test_subfolders_name_the_label_or_the_source(tmp_path):
    for name in ("tumour cell/1.npy", "tumour cell/deep/2.npy", "debris/3.npy", "4.npy"):
        save(tmp_path / name)
    by_label = Manifest.open(tmp_path, subfolders="label")
    assert rows(by_label) == [
        ("4.npy", ""),
        ("debris/3.npy", "debris"),
        ("tumour cell/1.npy", "tumour cell"),
        ("tumour cell/deep/2.npy", "tumour cell"),
    ]
    by_source = Manifest.open(tmp_path)
    assert list(by_source.table["source"]) == ["", "debris", "tumour cell", "tumour cell"]
    assert by_source.classes == ()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
def test_a_class_of_a_subfolder_is_named_as_a_table_would_name_it(tmp_path):
    for name in (" tumour cell /1.npy", "debris/2.npy", "debris /3.npy"):
        save(tmp_path / "in" / name)
    by_label = Manifest.open(tmp_path / "in", subfolders="label")
    assert by_label.classes == ("debris", "tumour cell")
    by_label.write(tmp_path / "labels.csv")
    assert Manifest.read(tmp_path / "labels.csv").classes == by_label.classes


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
def test_a_name_with_a_line_end_of_its_own_is_left_out_and_told(tmp_path):
    for name in ("slide\r/1.npy", "2.npy"):
        save(tmp_path / name)
    manifest = Manifest.open(tmp_path)
    assert manifest.keys == ["2.npy"]
    assert "Rename them" in manifest.notes[0]


def test_a_class_of_a_subfolder_has_its_accents_as_typed(tmp_path):
    save(tmp_path / unicodedata.normalize("NFD", "Zellkl\u00fcmpchen") / "1.npy")
    assert Manifest.open(tmp_path, subfolders="label").classes == ("Zellkl\u00fcmpchen",)


@pytest.mark.parametrize("name", ["labels.csv", "manifest.csv"])
def test_a_table_in_the_folder_labels_its_specimens(tmp_path, name):
    save(tmp_path / "s1/a.npy")
    save(tmp_path / "s2/b.npy")
    write(tmp_path, "path,label\ns2/b.npy,debris\ns2/gone.npy,debris\n", name)
    manifest = Manifest.open(tmp_path)
    assert rows(manifest) == [("s1/a.npy", ""), ("s2/b.npy", "debris")]
    assert list(manifest.table["source"]) == ["s1", "s2"]
    assert any("1 specimens that are not in the folder" in note for note in manifest.notes)


def test_a_table_in_the_folder_may_name_whole_paths(tmp_path):
    save(tmp_path / "s1/a.npy")
    write(tmp_path, f"{(tmp_path / 's1/a.npy').as_posix()},debris\n", "labels.csv")
    assert rows(Manifest.open(tmp_path)) == [("s1/a.npy", "debris")]


def test_broken_files_keep_their_place_and_are_told(tmp_path):
    save(tmp_path / "1.npy")
    (tmp_path / "2.npy").write_bytes(b"no")
    save(tmp_path / "3.npy")
    manifest = Manifest.open(tmp_path)
    assert manifest.keys == ["1.npy", "2.npy", "3.npy"]
    assert "1 of 3 files cannot be read. The first: 2.npy" in manifest.notes[0]
    with pytest.raises(SpecimenError, match=r"2\.npy is not a NumPy file"):
        manifest.specimen(1)


def test_a_folder_of_nothing_readable_is_refused(tmp_path):
    with pytest.raises(ManifestError, match="no specimen file"):
        Manifest.open(tmp_path)
    with pytest.raises(ManifestError, match="is not a folder"):
        Manifest.from_folder(tmp_path / "gone")
    for name in "ab":
        save(tmp_path / f"{name}.npy", (8, 9, 3))
    with pytest.raises(SpecimenError, match=r"a\.npy holds.*So it is with all 2 files"):
        Manifest.open(tmp_path)
    assert len(Manifest.open(tmp_path, Layout(3))) == 2


def test_stacks_in_a_folder_count_as_their_specimens(tmp_path):
    save(tmp_path / "a.npy")
    save(tmp_path / "b.npy", (3, 8, 9, 4))
    manifest = Manifest.open(tmp_path)
    assert manifest.keys == ["a.npy", "b.npy#0", "b.npy#1", "b.npy#2"]
    assert manifest.locate(3) == (tmp_path / "b.npy", 2)


def test_several_files_keep_the_order_they_were_given_in(tmp_path):
    files = [save(tmp_path / "s2/b.npy"), save(tmp_path / "s1/a.npy")]
    manifest = Manifest.open([str(file) for file in files])
    assert [manifest.locate(row)[0] for row in range(2)] == files
    assert manifest.root == tmp_path
    with pytest.raises(SpecimenError, match="format that is not read"):
        Manifest.open([files[0], tmp_path / "x.tif"])


def test_one_bad_file_is_refused_with_its_reason(tmp_path):
    with pytest.raises(SpecimenError, match="--channel-axis"):
        Manifest.open(save(tmp_path / "a.npy", (4, 9, 4)))
    with pytest.raises(SpecimenError, match="does not exist"):
        Manifest.open(tmp_path / "gone.npy")


# ------------------------------------------------------------------------------------------- writing


@pytest.mark.parametrize("headerless", [False, True])
def test_what_is_written_reads_back_the_same(tmp_path, headerless):
    text = "path,label,source,split\na.npy,x,1,train\nb/c.npy,,2,\nd.npy#3,NA,,test\n"
    manifest = Manifest.read(write(tmp_path, text))
    manifest.write(tmp_path / "again.csv", headerless)
    again = Manifest.read(tmp_path / "again.csv")
    assert rows(again) == rows(manifest)
    if not headerless:
        assert again.table.equals(manifest.table)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
@pytest.mark.parametrize("place", ["labels.csv", "../labels.csv", "../other/labels.csv"])
def test_names_that_a_cell_would_not_keep_still_find_their_specimens(tmp_path, place):
    folder = tmp_path / "set"
    for name in (" first.npy", "slide_1\\cell.npy", "A:1.npy", "plain.npy", "b/ second.npy"):
        save(folder / name)
    manifest = Manifest.open(folder)
    assert len(manifest) == 5
    (tmp_path / "other").mkdir()
    numbers = [str(row) for row in range(5)]
    manifest.with_column("label", numbers).write(folder / place)
    again = Manifest.read(folder / place)
    assert list(again.table["label"]) == numbers
    assert all(again.locate(row)[0].samefile(manifest.locate(row)[0]) for row in range(5))
    if place == "labels.csv":
        assert list(Manifest.open(folder).table["label"]) == numbers


def test_a_table_written_elsewhere_still_finds_its_specimens(tmp_path):
    save(tmp_path / "data/s1/a.npy")
    manifest = Manifest.open(tmp_path / "data")
    for place in (tmp_path, tmp_path / "data/s1", tmp_path / "other"):
        manifest.write(place / "labels.csv")
        again = Manifest.read(place / "labels.csv")
        assert again.locate(0)[0] == tmp_path / "data/s1/a.npy"
    assert rebase(["s1/a.npy"], tmp_path / "data", tmp_path) == ["data/s1/a.npy"]
    assert rebase(["s1/a.npy"], tmp_path / "data", tmp_path / "data/s1") == ["a.npy"]


def test_manifests_are_not_changed_in_place(tmp_path):
    manifest = Manifest.read(write(tmp_path, "a.npy,x\nb.npy,y\n"))
    other = manifest.with_column("label", ["z", ""])
    assert rows(manifest) == [("a.npy", "x"), ("b.npy", "y")]
    assert rows(other.rows([1, 0])) == [("b.npy", ""), ("a.npy", "z")]
