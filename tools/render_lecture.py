"""Run notebooks/degradation.py and write what it shows as docs/lecture.md, with its figures in docs/images/.

Needs `pip install resrepro[notebook]`. Figures are PNG files, `lecture-N.png`; their descriptions are in the notebook.
"""

from __future__ import annotations

import re
from pathlib import Path

import jupytext
from nbclient import NotebookClient
from nbconvert.exporters import MarkdownExporter

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "notebooks" / "degradation.py"
NOTE = "<!-- written by tools/render_lecture.py -->\n\n"


def render() -> tuple[str, dict[str, bytes]]:
    """Run the notebook.

    Returns:
        The page, and its figures by file name.
    """
    notebook = jupytext.read(NOTEBOOK)
    NotebookClient(notebook, timeout=None, resources={"metadata": {"path": str(ROOT)}}).execute()
    text, resources = MarkdownExporter(exclude_input_prompt=True, exclude_output_prompt=True).from_notebook_node(
        notebook
    )
    descriptions = iter([cell.metadata["alt"] for cell in notebook.cells if "alt" in cell.metadata])
    figures: dict[str, bytes] = {}

    def place(found: re.Match[str]) -> str:
        name = f"lecture-{len(figures) + 1}.png"
        figures[name] = resources["outputs"][found[1]]
        return f"![{next(descriptions)}](images/{name})"

    text = re.sub(r"!\[png\]\((\S+)\)", place, text)
    text = re.sub(r"<div>\n<style.*?</style>\n", "", text, flags=re.DOTALL)  # pandas's own
    return NOTE + text.replace("</div>", "").strip() + "\n", figures


def main() -> None:
    """Write the page and its figures."""
    page, figures = render()
    (ROOT / "docs" / "lecture.md").write_text(page, encoding="utf-8")
    for name, content in figures.items():
        (ROOT / "docs" / "images" / name).write_bytes(content)
        print(f"docs/images/{name}")
    print("docs/lecture.md")


if __name__ == "__main__":
    main()
