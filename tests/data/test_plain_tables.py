"""A table of which nothing is odd is read at once; whatever is odd is read row by row, with the same result."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_ctc.data import tables
from napari_ctc.data.plain_tables import plain_columns
from napari_ctc.data.tables import table_of
from napari_ctc.errors import ManifestError

FILE = Path("/data/run/manifest.csv")
HOME = "/data/run/"

PLAIN = {
    "header only of what is needed": "path\na.npy\nb/c.npy\n",
    "all columns": "path,label,source,split,by\na.npy,debris,s1,train,person\nb.npy,,s2,,\n",
    "spaces around cells": "Path , label\n a.npy, debris \nb.npy,x\n",
    "semicolons and Windows line ends": "path;label\r\na.npy;x\r\nb.npy;y\r\n",
    "cells in quotation marks": 'path,label\n"a, b.npy","big, round"\nc.npy,x\n',
    "specimens of a stack": "path,label\ns.npy#0,x\ns.npy#1,\n",
    "whole paths": f"path,label\n{HOME}a.npy,x\n/elsewhere/b.npy,y\n",
    "a column of another's": "path,label,area\na.npy,x,12\nb.npy,y,13\n",
}
ODD = {
    "no header": "a.npy,x\nb.npy,y\n",
    "an empty line": "path,label\na.npy,x\n\nb.npy,y\n",
    "a line break in a cell": 'path,label\n"a\n.npy",x\n',
    "Windows line ends, one of them in a cell": 'path,label\r\na.npy,"big,\r\nround"\r\n',
    "old line ends in a cell": 'path,label\na.npy,"big,\rround"\n',
    "a slash too many behind the folder": f"path,label\n{HOME}/a.npy,x\n",
    "backslashes": "path,label\nrun\\a.npy,x\n",
    "a path in two ways": "path,label\n./a.npy,x\nb//c.npy,y\n",
    "named twice alike": "path,label\na.npy,x\na.npy,x\n",
    "another word for a split": "path,label,split\na.npy,x,val\nb.npy,y,Training\n",
    "a hidden file": "path,label\nb/.a.npy,x\n",
    "an author in capitals": "path,label,by\na.npy,x,Person\n",
}
WRONG = {
    "a cell too many": "path,label\na.npy,x,y\n",
    "called two things": "path,label\na.npy,x\na.npy,y\n",
    "no such format": "path,label\na.npy,x\nb.png,y\n",
    "a raised number in a stack": "path,label\ns.npy#²,x\n",
    "no number in a stack": "path,label\ns.npy#two,x\n",
    "out of the folder": "path,label\n../a.npy,x\n",
    "an empty path": "path,label\n,x\na.npy,y\n",
    "a column twice": "path,label,label\na.npy,x,y\n",
    "no part of a split": "path,label,split\na.npy,x,half\n",
    "no author": "path,label,by\na.npy,x,nobody\n",
    "only a header": "path,label\n",
}


@pytest.fixture
def row_by_row(monkeypatch):
    """Read a table row by row, whatever it looks like."""

    def read(text):
        with monkeypatch.context() as patch:
            patch.setattr(tables, "plain_columns", lambda *_: None)
            return table_of(FILE, text)

    return read


@pytest.mark.parametrize("text", PLAIN.values(), ids=PLAIN)
def test_a_plain_table_says_the_same_read_at_once_as_row_by_row(text, row_by_row):
    assert plain_columns(text, tables.delimiter_of(text), HOME) is not None
    assert table_of(FILE, text) == row_by_row(text)


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_an_odd_table_is_read_row_by_row(text, row_by_row):
    assert table_of(FILE, text) == row_by_row(text)


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_a_wrong_table_is_refused_with_the_same_words(text, row_by_row):
    with pytest.raises(ManifestError) as said:
        table_of(FILE, text)
    with pytest.raises(ManifestError) as wanted:
        row_by_row(text)
    assert str(said.value) == str(wanted.value)
