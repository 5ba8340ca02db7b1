"""The pages of docs/ that are made from the source are up to date."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

import resrepro

ROOT = Path(resrepro.__file__).parent.parent
PAGES = runpy.run_path(str(ROOT / "tools/generate_docs.py"))["PAGES"]


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_what_its_source_says(name: str) -> None:
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == PAGES[name](), "run: python tools/generate_docs.py"
