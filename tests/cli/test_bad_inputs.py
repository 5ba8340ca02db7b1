"""What people type and give by mistake: each kind ends in one line that says what is wrong and what to do."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from support.processes import run
from support.stored_runs import store_curve

BAD = [  # what is typed after `resrepro`; {tmp}: a folder with one finished run, and the files of `place`; what is said
    ("list --results-dir {tmp}/no", "no such folder"),
    ("list --results-dir {tmp}/file", "a file; expected a folder"),
    ("plot all --results-dir {tmp}/file", "a file; expected a folder"),
    ("run quickstart --results-dir {tmp}/file", "a file; expected a folder"),
    ("report --results-dir {empty}", "--results-dir '': empty; expected a folder"),
    ("list --results-dir {empty}", "--results-dir '': empty; expected a folder"),
    ("run plain34-vs-res34 --data-dir {tmp} --device cpu --results-dir {tmp}", "imagenet: no such folder; expected"),
    ("run quickstart --device cpu --precision tf32 --results-dir {tmp}", "only CUDA devices have it"),
    ("run quickstart --seeds a", "expected integers"),
    (f"run quickstart --seeds 0-{'9' * 5000}", "expected integers"),  # more digits than Python reads
    (f"run quickstart --jobs {'9' * 5000}", "expected auto, or how many runs at once"),
    ("run quikstart", "did you mean 'quickstart'"),
    ("show cifar-resnets", "did you mean 'cifar-resnet'?"),
    ("run fig6", "it is a figure of cifar-resnet, drawn by: resrepro plot fig6"),
    ("plot fgi6", "no experiment or figure 'fgi6'; did you mean 'fig6'?"),
    ("plot fig6 all", "all: beside other names"),
    ("run resnet18", "unknown experiment 'resnet18'; it is a net, which is trained by "),
    ("show {tmp}/no.toml", "no such file"),
    ("run README.md", "README.md: expected an experiment's name or the path of a TOML file"),
    ("show {tmp}/titel.toml", "unknown key 'titel'; did you mean 'title'?"),
    (
        "plot {tmp}/fig6.toml --results-dir {tmp}",
        "figure 'fig6': a figure of cifar-resnet has this name; give it another",
    ),
    ("plot {tmp}/untitled.toml --results-dir {tmp}", "figure 1: panel 1: the key 'title' is missing"),
    ("show {tmp}/binary.toml", "cannot be read as TOML"),
    ("show {tmp}/photo-net.toml", "resnet50 is for ImageNet's photographs"),
    ("table 7", "expected 1, 2, 3, 4, 5, 6, fig4, fig6, fig7"),
    ("report --output-dir {tmp}/file/folder --results-dir {tmp}", "choose another --output-dir"),
    ("plot plain20-vs-plain56 --output-dir {tmp}/file/folder --results-dir {tmp}", "choose another --output-dir"),
    ("table 6 --format pdf", "--format pdf: expected md, csv, latex"),
    ("table Fig6 --results-dir {tmp}", "did you mean 'fig6'?"),
    ("table table06 --results-dir {tmp}", "did you mean '6'?"),
    ("table 6 --output-dir {empty} --results-dir {tmp}", "--output-dir '': empty; expected a folder"),
    ("report --output-dir {tmp}/file --results-dir {tmp}", "a file; expected a folder"),
    ("plot cifar-plain all", "all: beside other names; it stands alone"),
    ("plot all all --results-dir {tmp}/no", "no such folder"),
    ("plot cifar-plain --words {tmp}/binary.toml --results-dir {tmp}", "binary.toml: not a text in UTF-8"),
    ("plot cifar-plain --width 2 --font-size 30 --results-dir {tmp}", "--width 2: too narrow for letters of 30 points"),
    ("show {tmp}/iterations.toml", "unknown key 'iterations'; did you mean 'total_iters'?"),
    ("show {tmp}/run.toml", "run 1: got 'resnet20': expected a table; of several, each under its own [[...]]"),
    ("show {tmp}/", "a folder; expected a TOML file"),
    ("summary {empty}", "unknown architecture ''"),
    ("summary resnet020", "unknown architecture 'resnet020'; did you mean 'resnet20'?"),
    ("summary resnet34-a", "unknown architecture 'resnet34-a'; did you mean 'resnet34-A'?"),
    ("verify {empty} --results-dir {tmp}", "no experiment or run ''; the name is empty"),
    ("initialization --seeds -3", "--seeds -3: expected integers separated by commas"),
    ("initialization --dataset imagenette --results-dir {tmp}", "--dataset imagenette: expected images of one size"),
    ("initialization --depths 9 --results-dir {tmp}", "--depths 9: expected numbers of layers 6n+2"),
    ("submit quickstart --time 10 --local --nodes 2 --results-dir {tmp}", "without Slurm, whose option --nodes is"),
    ("table 6 --format csv --json", "--format csv: --json prints another format; give one of them"),
    ("table 6 --format {empty}", "--format : expected md, csv, latex"),
    ("plot all all --format png,,pdf --results-dir {tmp}", "--format png,,pdf: expected"),
    ("plot cifar-plain --schedule-scale 0 --results-dir {tmp}", "--schedule-scale 0: expected more than 0"),
    ("run cifar-plain --schedule-scale 1e-9", "leaves no iteration of 64000; expected 2e-05 or more"),
    ("run cifar-plain --schedule-scale nan", "--schedule-scale nan: expected more than 0"),
    ("run cifar-plain --seeds 4-0", "--seeds 4-0: expected a range"),
    ("run cifar-plain --seeds 0-99999999999", "--seeds 0-99999999999: expected a range of 1 to 1000"),
    ("run cifar-plain --seeds -1", "expected integers separated by commas"),
    ("run cifar-plain --seeds 99999999999999999999", "expected integers from 0 to"),
    ("run cifar-plain --only plain2O", "did you mean 'plain20'?"),
    ("run cifar-plain --only plain21", "there is no run 'plain21'; did you mean 'plain"),
    ("run cifar-plain --jobs 0", "--jobs 0: expected auto, or how many"),
    ("run cifar-plain --log wandb", "--log wandb: expected tensorboard"),
    ("run cifar-plain --dataset mnist", "unknown dataset 'mnist'"),
    ("run cifar-plain --dataset {empty}", "unknown dataset ''"),
    ("run cifar-plain --image-size 16", "this recipe takes images as they are"),
    ("run plain34-vs-res34 --resize 32", "--resize 32: this recipe crops photographs of any size"),
    ("run cifar-plain --resize 32 --device cpu --results-dir {tmp}", "image files are expected here: folder:PATH"),
    ("run cifar-plain --dataset imagenette --device cpu --results-dir {tmp}", "give --resize 32, or take"),
    ("run cifar-plain --data-dir {empty}", "--data-dir '': empty"),
    ("run plain18-vs-res18 --dataset cifar10 --device cpu --results-dir {tmp}", "image files are expected here"),
    ("run {tmp}/large-batch.toml --device cpu --results-dir {tmp}", "fewer than a mini-batch of 30000; add images"),
    ("run {tmp}/padding.toml --device cpu --results-dir {tmp}", "crop_padding is 16, and an image has 16 x 16 pixels"),
    ("run quickstart --device tpu --results-dir {tmp}", "--device tpu"),
    ("run quickstart --precision fp8 --device cpu --results-dir {tmp}", "--precision fp8"),
    ("summary resnet999998", "expected at most 9998 layers"),
    ("summary resnet21", "the nearest are resnet20 and resnet26"),
    ("summary resnet18", "resnet18-A has no parameters in them"),
    ("watch nosuch --results-dir {tmp}", "no experiment or run 'nosuch'; the nearest are "),
    ("watch plain-20 --results-dir {tmp}", "did you mean 'plain20'?"),
    ("verify nosuch --results-dir {tmp}", "no experiment or run 'nosuch'"),
    ("verify plain20 --data-dir {empty} --results-dir {tmp}", "--data-dir '': empty; expected a folder"),
    ("predict plain20 {tmp}/file --data-dir {tmp}/file --results-dir {tmp}", "--data-dir {tmp}/file: a file; expected"),
    ("evaluate {tmp}/code.pt --arch resnet20 --dataset shapes", "code.pt: holds code (posix.system); refused"),
    (
        "evaluate {tmp}/file --arch resnet20 --dataset shapes",
        "file: damaged, or not weights saved by torch.save; move it",
    ),
    ("evaluate {tmp}/no.pt --arch resnet20", "evaluate: there is no file or run '"),
    ("lesions nosuch --results-dir {tmp}", "lesions: there is no run 'nosuch'"),
    ("export plain2O --to onnx --results-dir {tmp}", "did you mean 'plain20'?"),
    ("compare resnet20 plain20 --results-dir {tmp}", "compare resnet20: expected one run, got 0; none is stored in "),
    ("evaluate {tmp}/w.pt --arch resnet20 --preprocess channel-mean-std --std 0,0,0", "--std 0,0,0: expected"),
    ("evaluate {tmp}/w.pt --arch resnet20 --preprocess channel-mean-std --mean 125,122,113", "divide yours by 255"),
    ("evaluate {tmp}/w.pt --arch resnet20 --preprocess channel-mean-std --mean 0,nan,0", "--mean 0,nan,0: expected"),
    ("evaluate {tmp}/w.pt --arch resnet20 --protocol 12-crop", "did you mean '10-crop'?"),
    (
        "evaluate {tmp}/ours.safetensors --arch plain20",
        "--arch plain20: {tmp}/ours.safetensors has weights of resnet20",
    ),
    (
        "evaluate {tmp}/w.pt {tmp}/w.pt --arch resnet20 --ensemble",
        "--ensemble: expected several nets, and each once; got ",
    ),
    ("evaluate {tmp}/w.pt --ensemble", "expected several nets"),
    ("run quickstart --jobs 2.5", "--jobs 2.5: expected auto, or how many runs at once"),
    ("run quickstart --only plain-deep,", "--only: there is no run ''"),
    ("run quickstart --precision FP32 --device cpu --results-dir {tmp}", "--precision FP32: expected auto, fp32"),
    ("run Quickstart", "did you mean 'quickstart'?"),
    ("run cifar-plain --dataset CIFAR10", "did you mean 'cifar10'?"),
    ("run cifar-plain --dataset folder:/", "dataset 'folder:/': expected a folder with a printable name"),
    ("run cifar-plain --dataset folder:{tmp}/no --device cpu --results-dir {tmp}", "/no: no such folder; expected "),
    ("list --schedule-scale 0", "--schedule-scale 0: expected more than 0 and at most 1"),
    ("show cifar-plain --schedule-scale 7", "--schedule-scale 7: expected more than 0 and at most 1"),
    ("show plain34-vs-res34 --resize 32", "--resize 32: this recipe crops photographs"),
    ("plot cifar-plain --style big --results-dir {tmp}", "--style big: expected paper, slide, poster"),
    ("plot cifar-plain --font-size 0 --results-dir {tmp}", "--font-size 0: expected a number from 4 to 72"),
    ("table fig1 --results-dir {tmp}", "table fig1: expected 1, 2, 3"),
    ("table 6 --format tex", "--format tex: expected md, csv, latex"),
    ("evaluate plain20 --protocol 10crop --results-dir {tmp}", "did you mean '10-crop'?"),
    ("export plain20 --to pytorch --results-dir {tmp}", "--to pytorch: unknown; did you mean 'torchvision'?"),
    ("submit quickstart --time 1h --local --results-dir {tmp}", "--time 1h: expected at least a minute"),
    ("bench resnet18x", "unknown architecture 'resnet18x'"),
    ("data check cifar10", "dataset 'cifar10': image files are expected here"),
]
USAGE = [  # what the parser of the command line refuses
    ("run cifar-plain --resize 4", "--resize 4: expected at least 8; see resrepro run --help"),
    ("run cifar-plain --resize 5000", "--resize 5000: expected at most 512"),
    ("run cifar-plain --workers 1.5", "--workers 1.5: expected an integer"),
    ("run cifar-plain --schedule-scale x", "--schedule-scale x: expected a number"),
    ("run cifar-plain --workers {empty}", "--workers '': expected an integer"),
    ("run cifar-plain --seeds", "option '--seeds' needs a value"),
    ("run cifar-plain --dry-run=3", "option '--dry-run' takes no value"),
    ("run cifar-plain -j 4", "run: there is no option '-j'; did you mean '--jobs'?"),
    ("run cifar-plain --epochs 4", "run: there is no option '--epochs'; known: --seeds, --only, "),
    ("data check imagenette --smallest -5", "expected at least 1; see resrepro data check --help"),
    ("data check imagenette --smallest 100000000000000000000", "expected at most 65535"),
    ("data check imagenette --smallest 1e20", "--smallest 1e20: expected an integer"),
    ("data chek", "data: there is no command 'chek'; did you mean 'check'?"),
    ("data check", "data check: imagenet|imagenette|tiny-imagenet|folder:PATH is missing: name the dataset"),
    ("run", "run: NAME|PATH.toml|all is missing: name experiments; all means those of the paper; see "),
    ("export resnet20", "export: --to is missing: write torchvision, "),
    ("show quickstart cifar-plain", "show: more than it takes: 'cifar-plain'"),
    ("runn quickstart", "error: there is no command 'runn'; did you mean 'run'?"),
    ("train quickstart", "there is no command 'train'; known: list, show, run, "),
    ("list's", "there is no command 'list's'; did you mean 'list'?"),
    ("--json list", "error: there is no option '--json' before the command; known: --version, "),
    ("--versio", "error: there is no option '--versio' before the command; did you mean '--version'?"),
    ("list --jsn", "list: there is no option '--jsn'; did you mean '--json'?"),
    ("watch --every inf", "expected at most 86400"),
    ("bench resnet20 --seconds inf", "expected at most 3600"),
    ("lesions resnet20 --draws 99999999999", "expected at most 1000"),
    ("run cifar-plain --processes 0", "--processes 0: expected at least 1"),
    ("plot cifar-plain --only plain20", "plot: there is no option '--only'; known: --format, "),
    ("export resnet20 --to onnx --output-dir x", "export: there is no option '--output-dir'; did you mean '--output'?"),
    ("compare resnet20", "compare: RUN is missing: name the run to compare it with"),
    ("help", "there is no command 'help'; known: list, show, "),
    ("-v", "error: there is no option '-v' before the command; did you mean '--version'?"),
    ("list --json=1", "option '--json' takes no value; for more type the command with --help"),
]

TOML = """
{key} = "a test"
dataset = "{dataset}"
[recipe]
preset = "cifar"
batch_size = {batch}
[[run]]
arch = "{arch}"
"""


class Code:
    """Is a call, once unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("true",)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder, in which lie wrong files, too."""
    tmp = tmp_path_factory.mktemp("bad")
    store_curve(tmp, "plain20", 9.5)
    (tmp / "file").write_text("not what is expected here")
    (tmp / "binary.toml").write_bytes(bytes(range(256)))
    usual = {"key": "title", "dataset": "shapes", "batch": 128, "arch": "resnet8"}
    for name, changes in {
        "titel": {"key": "titel"},
        "photo-net": {"dataset": "cifar10", "arch": "resnet50"},
        "large-batch": {"batch": 30000},
    }.items():
        (tmp / f"{name}.toml").write_text(TOML.format(**(usual | changes)))
    whole = (tmp / "large-batch.toml").read_text()
    (tmp / "iterations.toml").write_text(whole.replace("batch_size", "iterations"))
    (tmp / "padding.toml").write_text(whole.replace("batch_size = 30000", "crop_padding = 16"))
    figure = '[[figure]]\nname = "{}"\ntitle = "T"\n[[figure.panel]]\n{}runs = ["resnet8"]\n'
    (tmp / "fig6.toml").write_text(whole + figure.format("fig6", 'title = "p"\n'))
    (tmp / "untitled.toml").write_text(whole + figure.format("mine", ""))
    (tmp / "run.toml").write_text('title = "a test"\ndataset = "shapes"\nrun = ["resnet20"]\n')
    torch.save({"state_dict": Code()}, tmp / "code.pt")
    torch.save({"fc.weight": torch.zeros(1)}, tmp / "w.pt")
    save_file({"fc.weight": torch.zeros(1)}, tmp / "ours.safetensors", {"arch": "resnet20", "dataset": "cifar10"})
    return tmp


def said(typed: str, place: Path, code: int) -> list[str]:
    words = [word.format(tmp=place, empty="") for word in typed.split()]
    return run(*words, code=code).splitlines()


@pytest.mark.usefixtures("few_images")
@pytest.mark.parametrize(("typed", "expected"), BAD, ids=[typed for typed, _ in BAD])
def test_a_mistake_ends_in_one_line(typed: str, expected: str, place: Path) -> None:
    before = {*place.rglob("*")}
    lines = said(typed, place, code=1)
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 1 and expected.format(tmp=place) in errors[0] and errors[0] == lines[-1], lines
    assert len(lines) <= 2 and not any("Traceback" in line for line in lines)
    assert {*place.rglob("*")} == before


@pytest.mark.parametrize(("typed", "expected"), USAGE, ids=[typed for typed, _ in USAGE])
def test_a_wrong_command_line_ends_in_one_line(typed: str, expected: str, place: Path) -> None:
    (line,) = said(typed, place, code=2)
    assert line.startswith("error: ") and expected in line


@pytest.mark.parametrize("typed", ["", "data"])
def test_a_group_of_commands_alone_is_explained(typed: str, place: Path) -> None:
    lines = said(typed, place, code=2)
    assert lines[0].startswith("Usage: ") and "Commands:" in lines


def test_a_table_that_cannot_be_written_is_printed(place: Path) -> None:
    *table, last = said("table 1 --output-dir {tmp}/file/folder", place, code=1)
    assert last.endswith("/table1.md: cannot be written: Not a directory; choose another --output-dir")
    assert any(line.startswith("ResNet-152 ") for line in table)


def test_a_mistyped_data_dir_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import urllib.error

    from torchvision.datasets import CIFAR10

    def no_network(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(CIFAR10, "download", no_network)
    words = ("run", "cifar-plain", "--device", "cpu", "--results-dir", tmp_path, "--data-dir", tmp_path / "a" / "b")
    assert "cannot be downloaded" in run(*words, code=1)
    assert not (tmp_path / "a").exists()
