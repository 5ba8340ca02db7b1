"""Nets of other code: imported, built, checked, and told apart by their source."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from resrepro import results
from resrepro.bench import estimates
from resrepro.errors import UserError
from resrepro.models import build
from resrepro.models.complexity import complexity
from resrepro.models.own import source_sha256
from resrepro.models.weights import read_net, save_weights
from resrepro.results.paths import RunFiles
from support.own_nets import write_package
from support.processes import error, run

SMALL = "own_nets.nets:Small"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The package `own_nets` in the current directory, where Python does not look otherwise."""
    folder = write_package(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    yield folder
    forget()


def forget() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "own_nets"]:
        del sys.modules[name]


def test_it_is_built_of_the_seed_and_counted(package: Path) -> None:
    first, again, other = (build(SMALL, num_classes=5, seed=s).state_dict() for s in (0, 0, 1))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])
    counts = complexity(SMALL, num_classes=5, image_size=(8, 8))
    assert (counts.num_layers, counts.num_multiply_adds) == (3, 3 * 9 * 8 * 64 + 8 * 9 * 16 * 16 + 16 * 5)
    assert counts.output_sizes == {"conv1": (8, 8, 8), "rest": (16, 4, 4)}


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("nosuch:Net", "no module 'nosuch'; expected one in"),
        ("own_nets.nosuch:Net", "no module 'own_nets.nosuch'"),
        ("own_nets.needs:Net", "no module 'not_installed'"),
        ("own_nets.broken:Net", "own_nets.broken cannot be imported: ZeroDivisionError: division by zero"),
        ("own_nets.nets:Smal", "own_nets.nets has no 'Smal'; did you mean 'Small'?"),
        ("own_nets.nets:NUMBER", r"expected a callable \(num_classes\) that returns a net, got int"),
        ("own_nets.nets:string", r"expected a net \(torch.nn.Module\), got str"),
        ("own_nets.nets:fails", r"fails\(num_classes=10\) failed: ValueError: first line$"),
        ("own_nets.nets:seven", r"gives \(2, 7\) for images of \(2, 3, 8, 8\) in training mode, expected \(2, 10\)"),
        ("own_nets.nets:wide", r"fails on images of \(2, 3, 8, 8\): RuntimeError: "),
        ("own_nets.nets:Tuple", "gives tuple for images .* in training mode"),
    ],
)
def test_what_cannot_be_a_net_is_one_line(arch: str, message: str, package: Path) -> None:
    with pytest.raises(UserError, match=message) as caught:
        complexity(arch, num_classes=10, image_size=(8, 8))
    assert str(caught.value).startswith(f"{arch}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("file", "changes"), [("nets.py", True), ("blocks.py", True), ("__init__.py", True), ("unrelated.py", False)]
)
def test_the_source_is_all_that_is_imported_of_it(file: str, changes: bool, package: Path) -> None:
    before = source_sha256(SMALL)
    with (package / file).open("a") as source:
        source.write("# a comment")
    assert (source_sha256(SMALL) != before) is changes
    assert "own_nets.nets" not in sys.modules  # it was read, not imported


def test_the_source_in_an_installed_package_is_one_file() -> None:
    assert source_sha256("torchvision.models.resnet:resnet18") != source_sha256("torchvision.models.vgg:vgg11")


def test_its_own_names_in_a_weight_file_are_kept(package: Path, tmp_path: Path) -> None:
    """`linear` is read as `fc` where the net has no `linear` itself."""
    theirs = build(SMALL, num_classes=5, seed=0)
    save_weights(tmp_path / "w.safetensors", theirs, {})
    ours = read_net(tmp_path / "w.safetensors", SMALL, 5)
    assert torch.equal(theirs.get_submodule("linear").weight, ours.get_submodule("linear").weight)


@pytest.fixture
def mine(toml: Callable[..., Path]) -> Path:
    return toml(('arch = "plain8"', f'arch = "{SMALL}"'), ("plain8", "Small"), ("seeds = [0, 1]", ""))


@pytest.mark.usefixtures("package")
def test_a_dry_run_counts_it_once(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimates, "calibrate", lambda *_: 1e-12)
    assert run("run", mine, "--dry-run").startswith("2 run(s) to train, 0 finished\n")


@pytest.mark.usefixtures("few_images")
def test_a_run_is_trained_tested_verified_and_drawn(package: Path, mine: Path) -> None:
    where = ("--results-dir", "out", "--data-dir", ".")
    printed = run("run", mine, "--device", "cpu", "--precision", "fp32", *where)
    assert "layers are called plainly" in printed
    assert "no responses of 1 3x3 layer(s)" in printed
    files = RunFiles(folder=Path("out/shapes/Small/seed0"))
    record = results.read_record(files)
    assert record and (record.arch, record.arch_sha256, record.kernels) == (SMALL, source_sha256(SMALL), "torch")
    assert [line.split(",")[1] for line in files.responses.read_text().splitlines()] == ["name", "conv1"]
    assert "0 with differences" in run("verify", "Small", "--responses", *where)
    assert "shapes/Small/seed0" in run("evaluate", files.folder, "--data-dir", ".")
    assert "--dataset as well" in error("evaluate", files.weights, "--arch", SMALL)
    tested = run("evaluate", files.weights, "--arch", SMALL, "--dataset", "shapes", "--precision", "fp32")
    assert f"{record.final_test_error_pct:.2f}" in tested

    with (package / "blocks.py").open("a") as source:
        source.write("# a comment")
    changed = f"the source of {SMALL} has changed since (SHA-256 {str(record.arch_sha256)[:12]} there, now "
    assert changed in error("run", mine, *where)
    assert "has changed since training" in error("evaluate", files.folder, "--data-dir", ".")
    assert "has changed since training" in run("verify", "Small", *where, code=1)

    package.rename("elsewhere")  # what is stored needs no code
    forget()
    for words in (["show", mine], ["plot", mine], ["report"], ["watch", "--once"], ["table", "6"]):
        run(*words, "--results-dir", "out")
    assert Path("out/figures/tiny.png").exists()
    assert "no module 'own_nets'" in error("run", mine, *where)


@pytest.mark.usefixtures("few_images")
def test_a_run_whose_source_changed_is_not_resumed(package: Path, mine: Path) -> None:
    words = ("run", mine, "--only", "Small", "--device", "cpu", "--precision", "fp32", "--results-dir", "out")
    run(*words)
    Path("out/shapes/Small/seed0/run.json").unlink()
    forget()
    with (package / "nets.py").open("a") as source:
        source.write("# a comment")
    assert "checkpoint.pt: the source of own_nets.nets:Small has changed since" in error(*words)
