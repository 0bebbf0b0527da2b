from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]


def test_the_page_of_settings_is_that_of_the_fields():
    spec = importlib.util.spec_from_file_location("make_settings", TOP / "docs/make_settings.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (TOP / "docs/settings.md").read_text(encoding="utf-8") == module.table()


@pytest.mark.parametrize(
    "page", [TOP / "README.md", *sorted((TOP / "docs").rglob("*.md"))], ids=lambda page: page.name
)
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
