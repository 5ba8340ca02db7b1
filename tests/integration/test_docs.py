"""The README, `docs/` and the other pages say what is true of the command line, the files and the package."""

from __future__ import annotations

import ast
import re
import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from resrepro.cli import app
from resrepro.cli.options import numbers
from resrepro.config.architectures import ARCHITECTURES, architecture
from resrepro.config.datasets import DATASETS, check_dataset
from resrepro.config.recipe import SWITCHES
from resrepro.config.toml_files import find_experiment, find_figures, read_experiment
from resrepro.errors import UserError
from resrepro.report.distances import DISTANCES
from resrepro.report.tables import TABLES
from resrepro.results.paths import RunFiles
from support.processes import run

ROOT = Path(__file__).parents[2]
MANUAL = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES = [*MANUAL, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "results/README.md"]
CLI: Any = typer.main.get_command(app)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PLACEHOLDERS = ("NAME", "WEIGHTS", "RUN", "N", "PATH")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def commands(group: Any = CLI, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Yield (`data check`, its command) for each command of the command line."""
    for word, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*words, word))
        else:
            yield " ".join((*words, word)), command


COMMANDS = dict(commands())


def blocks(page: Path, *languages: str) -> list[str]:
    return [code for language, code in FENCE.findall(page.read_text()) if language in languages]


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text())


def code_lines(page: Path, start: str) -> list[str]:
    """Return the shell commands that begin with `start`, from code blocks and running text, without comments."""
    lines = [line for block in blocks(page, "sh") for line in block.replace("\\\n", " ").splitlines()]
    lines += [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose(page))]
    lines = [re.sub(r"^torchrun .* -m (?=resrepro)", "", line.partition("#")[0].strip()) for line in lines]
    return [line for line in lines if line.startswith(start)]


def test_the_readme_is_one_page() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 130


@pytest.mark.parametrize("words", COMMANDS)
def test_each_command_and_option_is_documented(words: str) -> None:
    pages = [page for page in map(Path.read_text, MANUAL) if re.search(rf"resrepro {words}\b", page)]
    assert pages, f"resrepro {words} is on no page"
    options = [
        option for p in COMMANDS[words].params for option in p.opts if option.startswith("--") and option != "--help"
    ]
    for option in options:
        assert any(re.search(rf"`?{option}\b(?!-)", page) for page in pages), f"no page on {words} has {option}"


def test_the_list_of_commands_has_whole_sentences() -> None:
    lines = run("--help").partition("Commands:")[2].strip().splitlines()
    assert len(lines) == len(CLI.commands)
    assert [line for line in lines if not line.endswith(".") or line.endswith(("...", "Fig."))] == []


def test_each_command_has_a_short_help_and_each_parameter_one() -> None:
    for words, command in COMMANDS.items():
        first = command.help.splitlines()[0]
        assert first.endswith(".") and len(first) <= 66, f"{words}: {first}"
        for parameter in command.params:
            assert parameter.help and parameter.help.endswith("."), f"{words}: {parameter.name}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_each_command_line_is_one_that_runs(page: Path) -> None:
    for line in code_lines(page, "resrepro "):
        check_command_line(line)


def check_command_line(line: str) -> None:
    """Raise if the command, its options, or a name of an experiment, architecture or dataset in it is unknown."""
    command: Any = CLI
    words = shlex.split(line)[1:]
    while hasattr(command, "commands"):
        assert words and words[0] in command.commands, f"no such command: {line}"
        command = command.commands[words.pop(0)]
    if not words:  # in running text, the name of the command alone
        return
    if words == ["N"] and command.name == "table":
        return
    try:
        given = command.make_context(command.name, list(words)).params
    except Exception as error:
        raise AssertionError(f"{line}: {error}") from error
    check_names(command.name, given)


def check_names(command: str, given: dict[str, Any]) -> None:
    if command == "table":
        assert given["which"] in (*map(str, TABLES), *DISTANCES), given["which"]
    words = [given["name"]] if "name" in given else given.get("names") or []
    words = [w for w in words if w not in (*PLACEHOLDERS, "all") and not w.endswith(".toml")]
    if command == "plot":
        find_figures(words)
    experiments = [find_experiment(w) for w in words if command != "plot"]
    for only in filter(None, (given.get("only") or "").split(",")):
        assert any(only in experiment.run_names() for experiment in experiments), only
    archs = [given["arch"]] if given.get("arch") else [a for a in given.get("archs") or () if a != "imagenet"]
    for arch in (part for text in archs for part in text.split(",")):
        architecture(arch)
    if given.get("dataset") and given["dataset"] not in PLACEHOLDERS:
        check_dataset(given["dataset"])
    for option in ("seeds", "scales"):
        if given.get(option):
            numbers(f"--{option}", given[option])


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("resrepro run cifar-resnets", "cifar-resnets"),
        ("resrepro run cifar-resnet --seed 1", "seed"),
        ("resrepro runs cifar-resnet", "runs"),
        ("resrepro run cifar-resnet --only resnet21", "resnet21"),
        ("resrepro bench resnet21", "resnet21"),
        ("resrepro table six", "six"),
    ],
)
def test_a_wrong_command_line_is_seen(line: str, word: str) -> None:
    with pytest.raises((AssertionError, UserError), match=word):
        check_command_line(line)


def test_each_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        assert {line.split()[1] for line in code_lines(page, "make ")} <= targets, page


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_each_relative_link_and_image_exists(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match("https?:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.is_file(), f"{name(page)}: {link}"
        assert not anchor or anchor in anchors(target), f"{name(page)}: {link}"


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip()) for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_each_file_of_the_repository_that_is_named_exists(page: Path) -> None:
    named = re.findall(r"`((?:resrepro|tests|tools|docs|experiments)/[\w./-]*)`", page.read_text())
    assert [path for path in named if not (ROOT / path).exists()] == []
    tests = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    assert set(re.findall(r"`(test_\w+\.py)`", page.read_text())) <= tests


def test_each_path_in_contributings_table_exists() -> None:
    rows = (ROOT / "CONTRIBUTING.md").read_text().partition("| to add | touch |\n")[2].partition("\n\n")[0]
    paths = re.findall(r"`((?:\w+/)+(?:\w+\.\w+)?|\w+\.py)`", rows)
    assert len(paths) > 20
    assert [path for path in paths if not ((ROOT / "resrepro" / path).exists() or (ROOT / path).exists())] == []


@pytest.mark.parametrize("page", MANUAL, ids=name)
def test_each_toml_is_an_experiment(page: Path, tmp_path: Path) -> None:
    for number, code in enumerate(blocks(page, "toml")):
        path = tmp_path / f"example{number}.toml"
        path.write_text(code)
        assert read_experiment(path).runs


def test_the_experiments_page_names_all_architectures_datasets_and_switches() -> None:
    page = (ROOT / "docs/experiments.md").read_text()
    known = {*ARCHITECTURES, *SWITCHES, *(DATASETS.keys() - {"folder"}), "folder:PATH"}
    assert [word for word in sorted(known) if f"`{word}`" not in page] == []


def test_the_table_of_experiments_is_up_to_date() -> None:
    tool = runpy.run_path(str(ROOT / "tools/generate_experiments_page.py"))
    page = tool["PAGE"].read_text(encoding="utf-8")
    assert page.count(tool["BEGIN"]) == page.count(tool["END"]) == 1
    assert page == tool["experiments_page"](page), "run: make docs-pages"


def test_the_page_on_results_names_all_files_of_a_run() -> None:
    page = (ROOT / "docs/results-format.md").read_text().partition("The result of a run is")[0]
    files = RunFiles(folder=ROOT)
    named = [getattr(files, each) for each in vars(RunFiles) if not each.startswith("__")]
    names = {path.name for path in named if isinstance(path, Path)}
    assert {".lock", ".holder", "curves.csv"} < names
    assert [each for each in sorted(names) if each not in page] == []


def test_contributings_subpackages_are_the_layers() -> None:
    file = next((ROOT / "tests").rglob("test_layering.py"))
    assigned = [node for node in ast.parse(file.read_text()).body if isinstance(node, ast.Assign)]
    layers = next(ast.literal_eval(n.value) for n in assigned if ast.unparse(n.targets[0]) == "LAYERS")
    table = (ROOT / "CONTRIBUTING.md").read_text().partition("| layer | subpackages |")[2].partition("\n\n")[0]
    rows = [row.split("|") for row in table.splitlines()[2:]]
    assert [int(row[1]) for row in rows] == list(range(1, len(rows) + 1))
    assert [set(re.findall(r"`(\w+)`", row[2])) for row in rows] == layers


def test_the_citation_has_what_the_format_requires() -> None:
    import yaml

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0" and citation["message"] and citation["title"]
    assert citation["authors"] == [{"name": "The resrepro developers"}]
    assert f'version = "{citation["version"]}"' in (ROOT / "pyproject.toml").read_text()


def test_the_site_has_all_pages_and_their_links(tmp_path: Path) -> None:
    tool = runpy.run_path(str(ROOT / "tools/build_site.py"))
    tool["gather"](tmp_path)
    pages = sorted(tmp_path.glob("*.md"))
    assert len(pages) == len(PAGES) and (tmp_path / "index.md").read_text().startswith("# resrepro\n")
    for page in pages:
        assert f'"{page.name}"' in (ROOT / "zensical.toml").read_text()
        for link in re.findall(r"\]\(([^)\s#]+)", page.read_text()):
            assert re.match("https?:", link) or (tmp_path / link).is_file(), f"{page.name}: {link}"
