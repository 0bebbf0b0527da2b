from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from napari_ctc.settings import TrainSettings

TOP = Path(__file__).parents[1]


def test_the_page_of_settings_is_that_of_the_fields():
    spec = importlib.util.spec_from_file_location("make_settings", TOP / "docs/make_settings.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (TOP / "docs/settings.md").read_text(encoding="utf-8") == module.table()


def test_the_page_on_adding_a_setting_shows_the_bounds_of_its_field():
    page = (TOP / "docs/extend/setting.md").read_text(encoding="utf-8")
    name, least, most = re.search(r"(\w+): float = Field\(\s*[\d.]+, ge=([\d.]+), le=([\d.]+)", page).groups()
    shown = TrainSettings.model_json_schema()["properties"][name]
    assert (float(least), float(most)) == (shown["minimum"], shown["maximum"])


@pytest.mark.parametrize(
    "page", [TOP / "README.md", *sorted((TOP / "docs").rglob("*.md"))], ids=lambda page: page.name
)
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
