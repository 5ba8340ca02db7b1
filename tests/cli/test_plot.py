"""What `resrepro plot` draws where no run is stored: nothing, or the runs that are kept with the program."""

from __future__ import annotations

from pathlib import Path

from support.processes import run
from support.stored_runs import store_curve


def test_the_kept_runs_are_drawn_where_there_are_no_others(tmp_path: Path) -> None:
    where = ("--results-dir", tmp_path)
    store_curve(tmp_path / "plain20-vs-plain56", "plain20", 9.5)
    out = run("plot", "plain20-vs-plain56", "plain20-vs-plain56", *where)
    assert f"drawn from the runs in {tmp_path / 'plain20-vs-plain56'}" in out
    assert out.count("fig1.png") == 1 and (tmp_path / "figures" / "fig1.png").exists()
    store_curve(tmp_path, "plain20", 9.5)
    assert "drawn from" not in run("plot", "plain20-vs-plain56", *where)


def test_what_has_no_run_is_named_with_what_trains_it(tmp_path: Path) -> None:
    where, stored = ("--results-dir", tmp_path), f" --results-dir {tmp_path}"
    (line,) = run("plot", *where, code=1).splitlines()
    assert line.endswith(f"no figure drawn: none of their runs is stored; begin with: resrepro run quickstart{stored}")
    (line,) = run("plot", "ambiguities", *where, code=1).splitlines()
    assert line.endswith(f"no figure drawn: none of its runs is stored; train them: resrepro run ambiguities{stored}")
    store_curve(tmp_path, "plain20", 9.5)
    out = run("plot", "plain20-vs-plain56", *where).splitlines()
    assert out[-1] == f"without plain56, not run yet: resrepro run plain20-vs-plain56{stored}"
    assert "without" not in run("plot", "plain20-vs-plain56", "--show-missing", *where)
    _, *lines = run("plot", "fig6", "--no-paper", *where).splitlines()
    assert [line.rpartition(": ")[2] for line in lines] == [
        f"resrepro run {name}{stored}" for name in ("cifar-plain", "cifar-resnet", "cifar-1202")
    ]


def test_a_figure_is_drawn_by_its_own_name(tmp_path: Path) -> None:
    where = ("--results-dir", tmp_path)
    store_curve(tmp_path, "plain20", 9.5)
    lines = run("plot", "fig6-left", "fig6-left", *where).splitlines()
    assert lines[0].endswith("fig6-left.png") and lines[1].startswith("without plain32, plain44, plain56, not run yet")
    assert len(lines) == 2
    assert [file.name for file in (tmp_path / "figures").iterdir()] == ["fig6-left.png"]
    (line,) = run("plot", "fig6-right", *where, code=1).splitlines()
    assert line.endswith(
        f"the runs that it is about are not stored; train them: resrepro run cifar-1202 --results-dir {tmp_path}"
    )


def test_figures_without_runs_are_one_line_where_all_of_the_papers_are_asked_for(tmp_path: Path) -> None:
    store_curve(tmp_path, "plain20", 9.5)
    (line,) = [
        line for line in run("plot", "--results-dir", tmp_path, code=1).splitlines() if line.startswith("not drawn")
    ]
    assert line.startswith("not drawn, for lack of runs: ") and ", fig6-right," in line and ", highway," not in line


def test_options_that_cannot_be_drawn_end_with_a_line(tmp_path: Path) -> None:
    for options, expected in (
        (("--format", "png,,pdf"), "--format png,,pdf: expected png, pdf or svg, separated by commas"),
        (("--style", "screen"), "--style screen: expected paper, slide, poster"),
        (("--width", "nan"), "--width nan: expected a number"),
        (("--words", tmp_path / "no.toml"), "no.toml: No such file"),
        (("--width", "2", "--font-size", "72"), "--width 2: too narrow for letters of 72 points; expected at least 14"),
    ):
        assert expected in run("plot", "cifar-plain", *options, "--results-dir", tmp_path, code=1)


def test_words_that_no_figure_has_are_named(tmp_path: Path) -> None:
    store_curve(tmp_path, "plain20", 9.5)
    (tmp_path / "words.toml").write_text('"titel" = "Titel"\n"test error" = "Testfehler"\n')
    out = run("plot", "plain20-vs-plain56", "--words", tmp_path / "words.toml", "--results-dir", tmp_path)
    assert out.splitlines()[-1].endswith("words.toml: 'titel' is in no text of these figures")


def test_a_table_without_rows_has_no_columns(tmp_path: Path) -> None:
    title, note, *_ = run("table", "fig4", "--results-dir", tmp_path).splitlines()
    assert title == "Distance from the curves of Fig. 4: ImageNet"
    assert note == f"no run of these yet: resrepro run plain34-vs-res34 --results-dir {tmp_path}"
