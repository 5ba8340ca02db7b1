"""Reading figures from a PDF: a drawing with known points, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resrepro.errors import UserError

TOOLS = Path(__file__).parents[2] / "tools"
STEPS = np.arange(1, 41)
ERRORS = {  # by net: training, then test, at 1 to 40 steps of 5,000; zigzags, so that no point is on a line
    "plain-18": (50 - STEPS / 2 + STEPS % 2, 45 - STEPS / 2 + STEPS % 2),
    "plain-34": (58 - STEPS / 4 + STEPS % 2, 48 - STEPS / 4 + STEPS % 2),
}


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(TOOLS))


def draw_panel(page: Any, left: float, prefix: str) -> None:
    """Draws a panel like Fig. 4's: x from 0 to 20e4 over 200 pt, y from 20 to 60 % over 100 pt."""
    frame, unit = (left, 100, left + 200, 200), 0.15
    page.draw_rect(frame, color=(1, 1, 1), width=unit)
    for tick in range(0, 21, 10):
        page.draw_line((left + 10 * tick, 198), (left + 10 * tick, 200), width=unit)
        page.insert_text((left + 10 * tick - 2, 208), str(tick), fontsize=7)
    for tick in (20, 40, 60):
        height = 200 - 2.5 * (tick - 20)
        page.draw_line((left, height), (left + 2, height), width=unit)
        page.insert_text((left - 9, height + 2), str(tick), fontsize=7)
    page.insert_text((left + 90, 216), "iter. (1e4)", fontsize=7)
    for number, (name, both) in enumerate(ERRORS.items()):
        color = ((0, 1, 1), (1, 0, 0))[number]
        for width, errors in zip((unit, 1.4), both, strict=True):
            corners = list(zip((left + 5 * STEPS).tolist(), (200 - 2.5 * (errors - 20)).tolist(), strict=True))
            # the frame's cuts: up to the upper edge, and on past the right one
            corners = [(left + 2, 100.0), *corners, (left + 200.3, corners[-1][1] - 0.5)]
            page.draw_polyline(corners, color=color, width=width)
        page.draw_line((left + 2, 180 + 9 * number), (left + 12, 180 + 9 * number), color=color, width=1.4)
        page.insert_text((left + 13, 182 + 9 * number), name.replace("plain", prefix), fontsize=7)


@pytest.fixture
def document(tools: None) -> Any:
    pymupdf = pytest.importorskip("pymupdf")
    made = pymupdf.open()
    for _ in range(5):
        page = made.new_page(width=612, height=792)
    draw_panel(page, 80, "plain")
    draw_panel(page, 340, "ResNet")
    page.insert_text((50, 240), "Figure 4. Training on ImageNet.", fontsize=9)
    return pymupdf.open(stream=made.tobytes(), filetype="pdf")


def test_known_points_come_back(document: Any) -> None:
    from paper_pdf import read_panels

    (left, plain), (right, residual) = read_panels(document, 4)
    assert (left.name, right.name) == ("Fig. 4 left", "Fig. 4 right")
    assert set(plain) == {(run, kind) for run in ("plain18", "plain34") for kind in ("train", "test")}
    assert {run for run, _ in residual} == {"resnet18-A", "resnet34-A"}
    for name, both in ERRORS.items():
        for kind, errors in zip(("train", "test"), both, strict=True):
            for found in (plain[name.replace("-", ""), kind], residual[f"{name.replace('plain-', 'resnet')}-A", kind]):
                assert list(found) == (5_000 * STEPS).tolist()
                np.testing.assert_allclose(list(found.values()), errors, atol=0.02)


def test_a_last_point_on_a_straight_line_to_the_right_cut_is_put_back(document: Any) -> None:
    from paper_pdf import Stroke, points, read_panels

    panel, _ = read_panels(document, 4)[0]
    corners = np.array([[270.0, 150.0], [275.0, 160.0], [280.3, 160.0]])  # the frame ends at 280, which is 20e4
    found = points(Stroke(points=corners, color=(1, 0, 0), width=1.4, dashed=False), panel, 5_000)
    assert found == pytest.approx({190_000: 40, 195_000: 36, 200_000: 36})
    corners[0, 0] += 2
    with pytest.raises(UserError, match=r"0\.40 of a step from the nearest multiple of 5000"):
        points(Stroke(points=corners, color=(1, 0, 0), width=1.4, dashed=False), panel, 5_000)


def test_a_page_or_caption_or_panel_that_is_not_there(document: Any) -> None:
    from paper_pdf import read_panels

    with pytest.raises(UserError, match=r"has 5 pages; expected Fig\. 6 on page 8"):
        read_panels(document, 6)
    with pytest.raises(UserError, match=r"page 1: no caption 'Figure 1\.'"):
        read_panels(document, 1)
    document[0].insert_text((50, 240), "Figure 1. No panel.", fontsize=9)
    with pytest.raises(UserError, match=r"Fig\. 1: found 0 panels, expected 2"):
        read_panels(document, 1)


def test_an_axis_that_is_not_linear(document: Any) -> None:
    from paper_pdf import read_panels

    document[4].insert_text((80 - 9, 177), "25", fontsize=7)
    document[4].draw_line((80, 175), (82, 175), width=0.15)
    with pytest.raises(UserError, match=r"Fig\. 4 left: the y axis is not linear: tick 25"):
        read_panels(document, 4)


@pytest.mark.parametrize(
    ("made", "expected"),
    [("missing", "no such file"), ("text", "not a PDF"), ("other", "lacks the stamp 'arXiv:1512.03385v1'")],
)
def test_another_file_is_one_line(
    made: str, expected: str, document: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    import read_paper_figures

    path = tmp_path / "paper.pdf"
    if made == "text":
        path.write_text("no PDF\n")
    elif made == "other":
        document.save(path)
    monkeypatch.setattr(sys, "argv", ["read_paper_figures.py", str(path)])
    assert read_paper_figures.main() == 1
    output = capsys.readouterr()
    assert expected in output.err and output.err.startswith(f"error: {path}: ") and output.err.count("\n") == 1


def test_without_pymupdf_one_line_says_how_to_get_it(
    tools: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import read_paper_figures

    monkeypatch.setitem(sys.modules, "pymupdf", None)
    monkeypatch.setattr(sys, "argv", ["read_paper_figures.py", "paper.pdf"])
    assert read_paper_figures.main() == 1
    assert capsys.readouterr().err == "error: needs PyMuPDF; install it with: pip install 'resrepro[paper]'\n"
