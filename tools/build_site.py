"""Build site/ from README.md, docs/ and the other pages of this repository: `make docs`, which installs zensical."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "results/README.md": "results.md",
    **{str(path.relative_to(ROOT)): path.name for path in sorted((ROOT / "docs").glob("*.md"))},
}
LOADED = re.compile(r"""<(?:script|img|iframe|link)[^>]*\s(?:src|href)=["']?((?:https?:)?//[^\s"'>]+)""")
LINK = re.compile(r"(?<=\]\()(?!https?:|#)([^)#\s]+)")


def gather(folder: Path) -> None:
    """Write all pages to `folder`, with the files that they link to; relative links then lead to their copies.

    A file below docs/ keeps its place there; any other goes below files/.
    """
    for source, page in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        for link in LINK.findall(text):
            name = _repository_path(source, link)
            if name not in PAGES:
                copy = folder / _place(name)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, copy)
        moved = LINK.sub(lambda match, source=source: _place(_repository_path(source, match[1])), text)
        (folder / page).write_text(moved, encoding="utf-8")


def _repository_path(source: str, link: str) -> str:
    """Return where `link` on the page `source` leads to, from the root of the repository."""
    return os.path.normpath(Path(source).parent / link)


def _place(name: str) -> str:
    return PAGES.get(name) or (name.removeprefix("docs/") if name.startswith("docs/") else f"files/{name}")


def loaded_from_elsewhere(site: Path) -> list[str]:
    """Return the scripts, styles and images of other hosts that the pages of `site` load, `<page>: <address>` each."""
    return [
        f"{page.name}: {match[1]}"
        for page in sorted(site.rglob("*.html"))
        for match in LOADED.finditer(page.read_text(encoding="utf-8"))
    ]


if __name__ == "__main__":
    staged = ROOT / ".site"
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir()
    gather(staged)
    shutil.copy(ROOT / "docs" / "site.css", staged)
    subprocess.run([sys.executable, "-m", "zensical", "build", "--clean", "--strict"], cwd=ROOT, check=True)
    raise SystemExit("\n".join(loaded_from_elsewhere(ROOT / "site")) or 0)
