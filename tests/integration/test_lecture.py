"""The notebook for a lecture: its page shows its cells, and they run."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "notebooks" / "degradation.py"


def test_the_page_has_the_notebooks_cells() -> None:
    page = (ROOT / "docs" / "lecture.md").read_text()
    text = NOTEBOOK.read_text().replace("# %matplotlib", "%matplotlib")
    _, *cells = re.split(r"^# %%(.*)\n", text, flags=re.MULTILINE)
    assert len(cells) > 20
    for kind, cell in zip(cells[::2], cells[1::2], strict=True):
        lines = [line.removeprefix("#").removeprefix(" ") for line in cell.splitlines()]
        shown = "\n".join(lines) if "markdown" in kind else cell
        assert shown.strip() in page, "write it again: tools/render_lecture.py"


@pytest.mark.slow
def test_its_cells_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "cifar10").symlink_to(ROOT / "results" / "cifar10")
    shown = runpy.run_path(str(NOTEBOOK))
    assert len(shown["lesions"]["plain-deep"]) == 15
    assert max(shown["lesions"]["residual-deep"]) < min(shown["lesions"]["plain-deep"])  # page: 12 and 57 %
