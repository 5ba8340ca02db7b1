"""Imports run strictly downwards, and the quick commands never import torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import resrepro
from support.stored_runs import store_curve

LAYERS = [
    {"errors"},
    {"paper"},
    {"files", "config", "runtime"},
    {"results", "models", "data"},
    {"evaluation", "figures"},
    {"training", "report"},
    {"bench", "laboratory"},
    {"api", "cli"},
]
HEIGHT = {name: height for height, layer in enumerate([*LAYERS, {"__main__"}]) for name in layer}
PACKAGE = Path(resrepro.__file__).parent


def imported(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "resrepro":
            modules = [node.module] if "." in node.module else [f"resrepro.{a.name}" for a in node.names]
            names |= {m.split(".")[1] for m in modules}
        elif isinstance(node, ast.Import):
            names |= {a.name.split(".")[1] for a in node.names if a.name.startswith("resrepro.")}
    return names


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda f: str(f.relative_to(PACKAGE)))
def test_imports_run_strictly_downwards(file: Path) -> None:
    subpackage = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if subpackage == "__init__":
        return
    for name in imported(file) - {subpackage, "__version__"}:
        assert HEIGHT[name] < HEIGHT[subpackage], f"{subpackage} imports {name}"


TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize("file", sorted(TESTS.rglob("*.py")), ids=lambda f: str(f.relative_to(TESTS)))
def test_no_test_module_imports_another(file: Path) -> None:
    """What several of them need is in tests/support."""
    for node in ast.walk(ast.parse(file.read_text())):
        names = [a.name for a in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        module = (node.module or "") if isinstance(node, ast.ImportFrom) else ""
        for part in ".".join([module, *names]).split("."):
            assert part not in ("tests", "conftest") and not part.startswith("test_"), f"imports {part}"


def test_no_function_has_more_than_60_lines() -> None:
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                num_lines = (node.end_lineno or 0) - node.lineno + 1
                assert num_lines <= 60, f"{file.relative_to(PACKAGE)}: {node.name} has {num_lines} lines"


TORCH_FREE = {"errors", "paper", "files", "config", "results", "figures", "report", "api", "cli"}
TORCH = {"torch", "torchvision"}
NEEDS_TORCH = {"runtime", "models", "data", "evaluation", "training", "bench", "laboratory"}


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda f: str(f.relative_to(PACKAGE)))
def test_torch_free_subpackages_import_no_torch_at_module_level(file: Path) -> None:
    """`cli.progress` is imported by `run` alone."""
    place = file.relative_to(PACKAGE)
    if place.parts[0].removesuffix(".py") not in TORCH_FREE or place == Path("cli/progress.py"):
        return
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] if node.module != "resrepro" else [f"resrepro.{a.name}" for a in node.names]
        else:
            continue  # also `if TYPE_CHECKING`
        for name in names:
            first, *rest = name.split(".")
            assert first not in TORCH and not (first == "resrepro" and rest and rest[0] in NEEDS_TORCH), name


QUICK = [
    "--help",
    "list",
    "show cifar-resnet",
    "plot plain20-vs-plain56",
    "table 6",
    "watch --once",
    "report",
    "data --help",
]


@pytest.mark.parametrize("words", [words.split() for words in QUICK], ids=QUICK)
def test_quick_commands_never_import_torch(words: list[str], tmp_path: Path) -> None:
    where = [] if "--help" in words else ["--results-dir", str(tmp_path)]
    store_curve(tmp_path, "plain20", 9.5)  # something to plot
    code = 1 if words == ["report"] else None  # it names the files that are not there
    program = (
        f"import sys\nsys.argv = ['resrepro', *{[*words, *where]!r}]\nfrom resrepro.__main__ import main\n"
        f"try:\n    main()\nexcept SystemExit as end:\n    assert (end.code or None) == {code}\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
