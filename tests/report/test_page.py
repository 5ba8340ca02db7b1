"""The report: whole, honest about what is missing or damaged, and a page that needs nothing but itself."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner

from resrepro import results
from resrepro.cli import app
from resrepro.config.experiment import Experiment
from resrepro.config.run import Run, Variation
from resrepro.config.toml_files import experiment_names, find_experiment
from resrepro.report import page_figures
from resrepro.report.departures import DEPARTURES
from resrepro.report.run_table import departures
from resrepro.report.speed import speed_table
from resrepro.report.tables import TABLES
from resrepro.results.csv_rows import write_rows
from resrepro.results.records import CurvePoint, Response
from support.records import record

FOUR = {"plain20": (3.0, 9.6), "plain56": (9.0, 13.2), "resnet20": (0.6, 8.4), "resnet56": (0.1, 7.0)}
ARXIV = "https://arxiv.org/abs/1512.03385"  # a link: nothing is loaded from there
VOID = {"meta", "link", "br"}
BLANK = b'<svg viewBox="0 0 9 9"></svg>'


def finish(results_dir: Path, run: Run, train: float, test: float, scale: float = 1.0) -> results.RunFiles:
    """A finished run with two curve points and its responses."""
    files = results.run_files(results_dir, run)
    points = [
        CurvePoint(
            iteration=i,
            lr=0.1,
            train_loss=1.0,
            train_error_pct=train,
            test_loss=1.0,
            test_error_pct=test,
            elapsed_s=1.0,
        )
        for i in (500, run.recipe.total_iters)
    ]
    write_rows(files.curves, CurvePoint, points)
    depth = int(re.sub(r"\D", "", run.arch))
    layers = [Response(layer=i, name="c", std=test / 10, num_images=10) for i in range(1, depth)]
    write_rows(files.responses, Response, layers)
    ends = {"final_train_error_pct": train, "final_test_error_pct": test, "schedule_scale": scale}
    results.write_record(files, record(run, device="a GPU", commit="0123456789abcdef", **ends))
    return files


def four_runs(results_dir: Path, scale: float = 1.0, seeds: tuple[int, ...] = (0,)) -> list[results.RunFiles]:
    runs = find_experiment("plain-vs-resnet").variant(Variation(schedule_scale=scale)).select(seeds=seeds).runs
    return [finish(results_dir, run, *(e + run.seed / 10 for e in FOUR[run.name]), scale) for run in runs]


def report(results_dir: Path, *words: str, draws: bool = False) -> tuple[str, str]:
    """The texts of both files, of a command that failed only if files could not be used: it names them.

    To draw the figures takes most of the time, so they are blank where a test is about the words.
    """
    with pytest.MonkeyPatch.context() as patch:
        if not draws:
            patch.setattr(page_figures, "render", lambda *_: [BLANK])
        done = CliRunner().invoke(app, ["report", "--results-dir", str(results_dir), *words], catch_exceptions=False)
    assert done.exit_code == (1 if "\nerror: " in done.output else 0), done.output
    assert [Path(line).name for line in done.output.splitlines()[:2]] == ["report.html", "report.md"]
    html, markdown = (Path(line).read_text() for line in done.output.splitlines()[:2])
    return html, markdown


class Checker(HTMLParser):
    """Collects what a page opens, names and points at; fails where tags do not close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: list[str] = []
        self.targets: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attributes:
            if name == "id":
                self.names.append(value or "")
            elif name in ("src", "href", "xlink:href", "srcset", "data", "action"):
                self.targets.append(value or "")
            elif name == "aria-labelledby":
                self.targets.append(f"#{value}")
            self.targets += [f"#{inside}" for inside in re.findall(r"url\(#([^)]*)\)", value or "")]

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> out of order"


def checked(html: str) -> Checker:
    page = Checker()
    page.feed(html)
    page.close()
    assert not page.open
    return page


def words_of(html: str) -> str:
    """The page's text."""
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", re.sub(r"<style>.*?</style>", "", html, flags=re.S))))


def papers() -> list[Experiment]:
    return [e for e in map(find_experiment, experiment_names()) if e.dataset in ("cifar10", "imagenet")]


def test_an_empty_folder_names_everything_that_is_missing_with_its_command(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    html, markdown = report(tmp_path / "none")
    text = words_of(html)
    num_claims = int(re.search(r"\*\*(\d+)\*\* not run", markdown)[1])  # type: ignore[index]
    assert "**2** supported · **0** consistent (one run) · **0** inc" in markdown and num_claims > 25
    assert "which are counted from the nets without a run: 2." in text
    assert "No run of the paper's experiments" in text and "No run of the paper's" in markdown
    for experiment in papers():
        assert f"resrepro run {experiment.name}" in text or not experiment.claims
        for figure in experiment.figures:
            assert f"{figure.title} ({experiment.reproduces})" in text
            assert f"### {figure.title} ({experiment.reproduces})" in markdown
        for claim in experiment.claims:
            assert claim.text in text and claim.text in markdown
    for number in TABLES:
        assert f"Table {number}: " in text and f"Table {number}: " in markdown
    assert "| ResNet-50 | 3 4 6 3 | 3 4 6 3 |" in markdown and "<svg" not in html  # counted, not run


def test_the_page_is_well_formed_names_nothing_twice_and_loads_nothing(tmp_path: Path) -> None:
    four_runs(tmp_path, seeds=(0, 1))
    four_runs(tmp_path, scale=0.1)
    html, _ = report(tmp_path, draws=True)
    page = checked(html)
    assert len(page.names) == len(set(page.names)), "an id is there twice"
    for target in page.targets:
        assert target in ("data:,", ARXIV) or target.removeprefix("#") in page.names, target
    assert page.tags.count("svg") > 4 and "script" not in page.tags
    assert not re.search(r"https?:|@import|url\((?!#)", html.replace(f'<a href="{ARXIV}">', ""))
    assert "default-src 'none'" in html and 'lang="en"' in html and "prefers-color-scheme: dark" in html
    levels = [int(tag[1]) for tag in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1 and all(b - a <= 1 for a, b in pairwise(levels))
    assert html.count('role="img"') == page.tags.count("svg")
    assert "figure .scroll { background: #fff; }" in html  # dark letters, also on a dark page


def test_the_first_screen_is_fig_6_and_the_table_of_its_nets(tmp_path: Path) -> None:
    four_runs(tmp_path)
    html, markdown = report(tmp_path)
    start = html.partition("<nav")[0]
    assert start.count("<svg") == 1 and "Table 6" in start and "ResNet-56" in start and ">6.97</td>" in start
    assert markdown.count("(figures/fig6-corners.svg)") == 1 and "| ResNet-20 | 8.75 | 8.40 | -0.35 | 1 |" in markdown
    folded = "".join(re.findall(r"<details>.*?</details>", html, re.DOTALL))
    assert "Claims without runs" in folded and "(Fig. 4, Table 2)" in folded
    assert "not run" not in markdown.partition("**Claims of the paper**")[2].partition("<details>")[0]
    assert '<td class="number" data-label="paper error (%)">8.75</td>' in start and "reproduced" not in html
    assert '<div class="bad"><dt>files left out</dt><dd>3</dd></div>' in html  # gradients.csv of three runs


def test_where_the_papers_experiments_have_no_runs_those_with_other_choices_stand_first(tmp_path: Path) -> None:
    for run in find_experiment("cifar-decay-all").select(only=[f"{net}-decay-all" for net in FOUR]).runs:
        finish(tmp_path, run, 3.0, 9.6)
    html, markdown = report(tmp_path)
    assert html.partition("<nav")[0].count("<svg") == 1 and "No run of the paper's experiments" in markdown
    assert markdown.count("(figures/fig6-corners-decay-all.svg)") == 1


def test_the_brief_report_has_the_claims_with_runs_alone(tmp_path: Path) -> None:
    four_runs(tmp_path)
    done = CliRunner().invoke(app, ["report", "--brief", "--results-dir", str(tmp_path)], catch_exceptions=False)
    html, markdown = (Path(line).read_text() for line in done.output.splitlines()[:2])
    assert sorted(path.name for path in tmp_path.glob("*.*")) == ["brief.html", "brief.md"]
    assert checked(html).tags.count("svg") == 1 and "<details" not in html
    assert "not run" not in markdown.partition("## Claims with runs")[2]
    assert re.findall("\n## (.*)", markdown) == ["Claims with runs", "Left out"]
    assert len(words_of(html).split()) < 1000


def test_texts_from_files_cannot_break_the_page(tmp_path: Path) -> None:
    (run, *_) = find_experiment("plain-vs-resnet").runs
    files = finish(tmp_path, run, 3.0, 9.6)
    results.write_record(files, record(run, device='<script>"GPU" & | co'))
    html, markdown = report(tmp_path)
    assert "script" not in checked(html).tags and "&lt;script&gt;&quot;GPU&quot; &amp; | co" in html
    assert r'| \<script>"GPU" & \| co |' in markdown


@pytest.mark.slow
def test_the_same_results_give_the_same_page(tmp_path: Path) -> None:
    four_runs(tmp_path)
    assert report(tmp_path) == report(tmp_path)


def test_full_runs_decide_claims_and_stand_in_tables_with_device_and_commit(tmp_path: Path) -> None:
    four_runs(tmp_path, seeds=(0, 1, 2))
    html, markdown = report(tmp_path)
    lines = markdown.splitlines()
    fig1 = next(line for line in lines if line.startswith("| plain-56 has a higher training error than plain-20"))
    assert "| consistent (one run) |" in fig1 and "p < 0.001" in fig1  # one seed is declared
    assert "plain-56: 9.00 (not counted: 9.15±0.07)<br>plain-20: 3.00 (not counted: 3.15±0.07)" in fig1
    assert any(line.startswith("| ResNet | 20 | 0.27 | 8.75 | 8.50±0.10 | -0.25 | 3 |") for line in lines)
    assert "Ours: a GPU; fp32; commit `0123456789ab`." in markdown
    assert any(line.startswith("| cifar10/resnet56 | 0, 1, 2 | 0.20±0.10 | 7.10±0.10") for line in lines)
    assert "ResNet-56 (seeds 0, 1, 2)" in words_of(html) and "64000 iterations of 128" in markdown


def test_a_shortened_schedule_never_counts_for_the_paper(tmp_path: Path) -> None:
    four_runs(tmp_path, scale=0.1, seeds=(0, 1))
    _, markdown = report(tmp_path)
    assert "**2** supported · **0** consistent (one run) · **0** inconclusive" in markdown
    section = markdown.partition("## CIFAR-10, schedule × 0.1")[2].partition("\n## ")[0]
    assert "holds here" in section and "| supported |" not in section and "6400 iterations of 128, 0.1 of" in section
    assert "8.75" not in section and "has the paper's test error" not in section
    assert section.count("![") == 3  # Fig. 1, Fig. 6 and Fig. 7: no figure that would show nothing new
    table6 = markdown.partition("Table 6")[2].partition("**")[0]
    assert "| ResNet | 20 | 0.27 | 8.75 | not run |" in markdown and "8.50" not in table6


def test_a_schedule_that_is_too_short_for_other_experiments_does_not_end_the_report(tmp_path: Path) -> None:
    four_runs(tmp_path, scale=0.0005)
    _, markdown = report(tmp_path)
    assert "## CIFAR-10, schedule × 0.0005" in markdown


def test_another_data_set_is_a_section_of_its_own(tmp_path: Path) -> None:
    for run in find_experiment("plain-vs-resnet").variant(Variation(dataset="cifar100")).runs:
        finish(tmp_path, run, *FOUR[run.name])
    _, markdown = report(tmp_path)
    assert "## CIFAR-100 in place of CIFAR-10" in markdown and "**2** supported" in markdown
    assert "data other than the paper's" in markdown


def test_smaller_images_are_a_section_of_their_own(tmp_path: Path) -> None:
    small = find_experiment("plain34-vs-res34").variant(
        Variation(dataset="imagenette", image_size=64, schedule_scale=0.01)
    )
    for run, error in zip(small.runs, (40.0, 30.0), strict=True):
        finish(tmp_path, run, error, error + 5, 0.01)
    _, markdown = report(tmp_path)
    section = markdown.partition("## Imagenette in place of ImageNet, 64 pixels, schedule × 0.01")[2].partition(
        "\n## "
    )[0]
    assert "plain-34: 40.00<br>ResNet-34 A: 30.00" in section and "holds here (one run)" in section
    assert "imagenette/plain34-64px-x0.01" in markdown and "**2** supported" in markdown


def test_resized_photographs_are_a_section_of_their_own(tmp_path: Path) -> None:
    for run in find_experiment("plain-vs-resnet").variant(Variation(dataset="folder:/x/birds", resize=48)).runs:
        finish(tmp_path, run, *FOUR[run.name])
    _, markdown = report(tmp_path)
    assert "## birds in place of CIFAR-10, 48 pixels" in markdown and "images resized to 48 pixels" in markdown
    assert "folder-birds/plain20-48px" in markdown and "resrepro run plain20-vs-plain56 --resize" not in markdown


def test_damaged_files_are_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    plain20, plain56, resnet20, resnet56 = four_runs(tmp_path)
    plain20.curves.write_text("iteration\n1\n")
    plain56.record.write_text('{"status": "finished"}')  # of an older version
    resnet20.responses.write_text("nonsense\n")
    resnet56.record.write_bytes(b"\xff\xfe")
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "cpu.json").write_text('{"rows": [{}]}')
    html, markdown = report(tmp_path, draws=True)
    checked(html)
    left_out = markdown.partition("## Left out")[2]
    broken = (plain20.curves, plain56.record, resnet20.responses, resnet56.record, tmp_path / "bench" / "cpu.json")
    for path in broken:
        assert left_out.count(str(path)) == 1, path
    assert re.search(r"^Files that could not be used: \d+;", markdown, re.MULTILINE)
    assert "| ResNet | 20 | 0.27 | 8.75 | 8.40 | -0.35 | 1 |" in markdown  # what is whole is there
    assert "| ResNet | 56 | 0.85 | 6.97 | 1 damaged |" in markdown
    assert "<svg" in html and "Traceback" not in html


@pytest.mark.parametrize(
    ("old", "new"), [('"fp32"', "[32]"), ("9.0", 400 * "9"), ("9.0", "NaN"), ('"r20"', 5000 * "["), ("}]", "}, 3]")]
)
def test_a_damaged_file_of_speeds_is_named(tmp_path: Path, old: str, new: str) -> None:
    speed = {
        "architecture": "r20", "loop": "ours", "runs_at_once": 1, "precision": "fp32", "images_per_s": 9.0,
        "times_standard": 1, "measured_at": "2026-11-24T00:03:20", "threads": 2,
    }  # fmt: skip
    path, problems = results.bench_file(tmp_path, "cpu", "fp32"), list[str]()
    path.parent.mkdir()
    whole = json.dumps({"device": "cpu", "rows": [speed]})
    path.write_text(whole)
    assert speed_table(tmp_path, problems).rows == (
        ("cpu", "r20", "cifar10", "ours", "1", "fp32", "9", "1.00", "2026-11-24"),
    )  # fmt: skip
    path.write_text(whole.replace(old, new))
    assert problems == [] and speed_table(tmp_path, problems).rows == ()
    assert len(problems) == 1 and problems[0].startswith(f"{path}: not what 'resrepro bench' writes (")


def test_a_damaged_file_of_ensembles_costs_table_5_alone(tmp_path: Path) -> None:
    path = results.ensembles_file(tmp_path, "imagenet")
    path.parent.mkdir(parents=True)
    path.write_text("[")
    _, markdown = report(tmp_path)
    assert "Table 5: left out" in markdown and str(path) in markdown.partition("## Left out")[2]
    assert "**Table 4: " in markdown and "**Table 6: " in markdown


def test_another_recipe_under_a_known_name_is_named(tmp_path: Path) -> None:
    run = find_experiment("plain-vs-resnet").runs[0]
    files = results.run_files(tmp_path, run)
    results.write_record(files, record(run, recipe={**record(run).recipe, "lr": 0.2}))
    _, markdown = report(tmp_path)
    assert f"{files.record}: recipe.lr is 0.2 there" in markdown.partition("## Left out")[2]


def test_recipes_are_compared_with_the_preset() -> None:
    run = find_experiment("cifar-resnet").runs[0]
    assert departures(record(run)) == "–"
    assert departures(record(run, recipe={**record(run).recipe, "bn_devices": 2})) == "bn_devices = 2"
    (short, *_) = find_experiment("cifar-resnet").variant(Variation(schedule_scale=0.1)).runs
    assert departures(record(short, schedule_scale=0.1)) == "schedule × 0.1"
    older = find_experiment("cifar-decay-all").runs[0]
    recipe = {k: v for k, v in record(older).recipe.items() if k != "fc_init"}  # from before this switch
    said = 'bn_average_batches = null, decay = "all", fc_init = "pytorch"'
    assert sorted(departures(record(older, recipe=recipe)).split(", ")) == said.split(", ")


def test_figures_of_the_markdown_lie_where_it_says(tmp_path: Path) -> None:
    four_runs(tmp_path / "results")
    _, markdown = report(tmp_path / "results", "--output-dir", str(tmp_path / "elsewhere"))
    links = re.findall(r"!\[[^\]]*\]\(([^)]*)\)", markdown)
    assert len(links) > 2 and all((tmp_path / "elsewhere" / link).resolve().is_file() for link in links)


def test_the_manual_lists_the_same_departures() -> None:
    page = (Path(__file__).parents[2] / "docs/differences.md").read_text()
    rows = page.partition("| point | the paper | here | alternative here |\n")[2].partition("\n\n")[0].splitlines()[1:]
    listed = [tuple(cell.strip() for cell in row.removeprefix("|").removesuffix("|").split(" | ")) for row in rows]
    assert listed == [(d.point, d.paper, d.here, d.other_way) for d in DEPARTURES]


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_a_browser_has_nothing_to_complain_of(tmp_path: Path) -> None:
    four_runs(tmp_path)
    report(tmp_path, draws=True)
    words = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]
    page = f"file://{tmp_path}/report.html"
    done = subprocess.run([CHROMIUM, *words, page], capture_output=True, text=True, timeout=120, check=True)
    assert "</html>" in done.stdout and "CONSOLE" not in done.stderr


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_the_brief_report_prints_on_two_pages(tmp_path: Path) -> None:
    four_runs(tmp_path)
    CliRunner().invoke(app, ["report", "--brief", "--results-dir", str(tmp_path)], catch_exceptions=False)
    words = ["--headless", "--no-sandbox", "--disable-gpu", f"--print-to-pdf={tmp_path}/brief.pdf"]
    subprocess.run([CHROMIUM, *words, f"file://{tmp_path}/brief.html"], capture_output=True, timeout=120, check=True)
    assert len(re.findall(rb"/Type */Page\b", (tmp_path / "brief.pdf").read_bytes())) == 2


def test_claims_of_our_own_are_counted_apart(tmp_path: Path) -> None:
    four_runs(tmp_path)
    _, markdown = report(tmp_path)
    counted = next(line for line in markdown.splitlines() if line.startswith("Claims of the paper: "))
    own = next(line for line in markdown.splitlines() if line.startswith("Our own claims"))
    rows = markdown.partition("**Claims of the paper**")[2].partition("\n\n\n")[0].partition("\n## ")[0]
    num_rows = sum(line.startswith("| ") and "measured: " in line for line in rows.splitlines())
    total = sum(map(int, re.findall(r"\*\*(\d+)\*\*", counted)))
    assert total + sum(map(int, re.findall(r"(\d+) [a-z]", own))) == num_rows
    assert rows.count("(ours, not the paper's)") == num_rows - total > 0
