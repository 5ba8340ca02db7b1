"""`resrepro export` and `resrepro predict`."""

from __future__ import annotations

import errno
import json
import platform
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import resrepro
from resrepro import results
from resrepro.config.recipe import ScaleCrop
from resrepro.config.run import Run
from resrepro.evaluation import export as exporting
from resrepro.evaluation.classifier import Classifier, read_view
from resrepro.models import build
from resrepro.models.weights import read_metadata, read_net, save_weights
from resrepro.results.paths import RunFiles
from support.processes import error, run
from support.recipes import tiny_recipe
from support.records import record
from support.stored_runs import run_of

ROOT = Path(__file__).parents[2]
TRAINED = "cifar10/resnet20-decay-weights/seed0"
CROP = ScaleCrop(size=40, shorter_side=(46, 86))


@pytest.fixture
def files(tmp_path: Path) -> RunFiles:
    """A copy of a committed run."""
    return RunFiles(folder=Path(shutil.copytree(ROOT / "results" / TRAINED, tmp_path / "results" / TRAINED)))


def exported(files: RunFiles, to: str, path: Path, *words: object) -> str:
    where = ("--results-dir", files.folder.parents[2], "--output", path)
    out = run("export", TRAINED, "--to", to, *where, *words)
    assert "loaded again: the outputs for 8 images differ from the net's by" in out
    assert {file.name for file in path.parent.iterdir()} == {"results", path.name}
    return out


def fails(files: RunFiles, *words: object) -> str:
    return error("export", TRAINED, *words, "--results-dir", files.folder.parents[2])


def test_safetensors_are_the_weights(files: RunFiles, tmp_path: Path) -> None:
    assert "(N, 3, 32, 32) float32, pixels from 0 to 255 minus" in exported(
        files, "safetensors", tmp_path / "w.safetensors"
    )
    theirs, ours = load_file(tmp_path / "w.safetensors"), load_file(files.weights)
    assert theirs.keys() == ours.keys() and all(torch.equal(theirs[key], ours[key]) for key in ours)
    assert read_metadata(tmp_path / "w.safetensors") == read_metadata(files.weights)


@pytest.mark.slow
def test_onnx_gives_the_same_outputs(files: RunFiles, tmp_path: Path) -> None:
    import onnxruntime

    assert "ONNX opset 18, images (N, 3, 32, 32) float32" in exported(files, "onnx", tmp_path / "w.onnx", "--opset", 18)
    images = torch.rand(3, 3, 32, 32)
    (outputs,) = onnxruntime.InferenceSession(tmp_path / "w.onnx").run(None, {"images": images.numpy()})
    net = resrepro.load_net(files.folder)
    torch.testing.assert_close(torch.from_numpy(outputs), net(images).detach(), atol=1e-3, rtol=1e-4)
    assert fails(files, "--to", "onnx", "--opset", 7).startswith("--opset 7: an operator of resnet20 has no form in it")


@pytest.mark.slow
def test_a_torch_hub_folder_needs_torch_alone(files: RunFiles, tmp_path: Path) -> None:
    exported(files, "torch-hub-folder", tmp_path / "hub")
    assert "resrepro" not in (tmp_path / "hub/hubconf.py").read_text()
    net = torch.hub.load(str(tmp_path / "hub"), "resnet20", source="local").eval()
    images = torch.rand(3, 3, 32, 32)
    torch.testing.assert_close(net(images), resrepro.load_net(files.folder)(images))
    assert net.class_names[3] == "cat" and not net.training
    with pytest.raises(RuntimeError, match="cannot be trained"):
        net.train()


def classifier(arch: str) -> Classifier:
    """A net for 3 classes and images of 40 x 40 pixels, not trained."""
    mean, ran = torch.full((3, 40, 40), 120.0), run_of(arch)
    names = ("owl", "wren", "kite")
    return Classifier(build(arch, num_classes=3, seed=0), mean, class_names=names, run=ran, record=record(ran)).eval()


def test_torchvision_has_the_same_layers_and_outputs(tmp_path: Path) -> None:
    takes, difference = exporting.export(classifier("resnet18-B"), "torchvision", tmp_path / "w.pth")
    assert "(N, 3, 40, 40) float32" in takes and difference < 1e-3
    read_net(tmp_path / "w.pth", "resnet18-B", 3)


def test_a_net_that_torchvision_lacks_is_refused(files: RunFiles) -> None:
    assert fails(files, "--to", "torchvision").startswith("--to torchvision: has no net like resnet20; expected one of")
    assert "resnet50" not in exporting.TORCHVISION  # its stride is in another layer


def test_outputs_that_differ_leave_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = build("resnet8", num_classes=3, seed=5)
    monkeypatch.setattr(exporting.weights, "read_net", lambda *_: other)
    with pytest.raises(resrepro.UserError, match="not written, for its outputs differ"):
        exporting.export(classifier("resnet8"), "safetensors", tmp_path / "w.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_was_moved_in_half_is_written_anew(
    files: RunFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between its two files, the same command was refused: for a hubconf.py without a net is other code's."""

    def write(classifier: Classifier, path: Path, images: torch.Tensor, _opset: int | None) -> tuple[torch.Tensor, str]:
        path.mkdir()
        for name in ("hubconf.py", "net.pt2"):
            (path / name).write_text(name)
        return classifier(images), "takes images"

    def once(file: Path, target: Path) -> None:
        move(file, target)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setitem(exporting.FORMATS, "torch-hub-folder", write)
    move = Path.replace
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", once)
        assert "Input/output error" in fails(files, "--to", "torch-hub-folder", "--output", tmp_path / "hub")
    exported(files, "torch-hub-folder", tmp_path / "hub")
    assert sorted(file.name for file in (tmp_path / "hub").iterdir()) == ["hubconf.py", "net.pt2"]


def test_wrong_options_are_one_line(files: RunFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fails(files, "--to", "onyx") == "--to onyx: unknown; did you mean 'onnx'?"
    assert fails(files, "--to", "safetensors", "--opset", 18) == "--opset 18: only for --to onnx; leave the option out"
    assert fails(files, "--to", "safetensors", "--output", "w.pt").endswith("expected a name that ends in .safetensors")
    assert "export: there is no run 'cifar10/resnet22/seed0'" in error(
        "export", "cifar10/resnet22/seed0", "--to", "onnx", "--results-dir", ROOT / "results"
    )
    stored = fails(files, "--to", "safetensors", "--output", files.weights)
    assert stored.endswith("the place of a stored run's own files; give another one") and files.weights.exists()
    other = files.folder.parents[2] / "hub"
    other.mkdir()
    (other / "hubconf.py").write_text("mine")
    assert "has a hubconf.py of other code" in fails(files, "--to", "torch-hub-folder", "--output", other)
    monkeypatch.setattr(exporting, "NEEDED_FOR_ONNX", ("onnx_that_nobody_has",))
    lacking = "--to onnx: needs onnx_that_nobody_has, which this environment lacks; pip install resrepro[export]"
    assert fails(files, "--to", "onnx") == lacking


def test_missing_cut_foreign_and_exchanged_weights_are_one_line(files: RunFiles) -> None:
    whole = files.weights.read_bytes()
    words = ("--to", "safetensors")
    files.weights.write_bytes(whole[: len(whole) // 2])
    assert "weights.safetensors: damaged, for its SHA-256" in fails(files, *words)
    results.write_record(files, results.read_record(files))
    assert "weights.safetensors: damaged, or not a safetensors file" in fails(files, *words)
    save_weights(files.weights, build("resnet20", num_classes=10), {})
    results.write_record(files, results.read_record(files))
    assert "weights.safetensors: weights of another run" in fails(files, *words)
    files.weights.unlink()
    assert "no weights are stored: neither weights.safetensors nor checkpoint.pt" in fails(files, *words)
    files.record.unlink()
    assert "no run there" in fails(files, *words)


def test_a_run_without_its_dataset_has_no_mean(files: RunFiles, tmp_path: Path) -> None:
    kept = json.loads(files.record.read_text())
    kept["recipe"]["train_images"] = 45_000
    files.record.write_text(json.dumps(kept))
    net = build("resnet20", num_classes=10)
    ran = results.same_run.recorded_run(results.read_record(files))
    save_weights(files.weights, net, results.weights_metadata(ran, results.read_record(files), 10))
    results.write_record(files, results.read_record(files))
    assert f"there is no cifar10 in {tmp_path}" in fails(files, "--to", "safetensors", "--data-dir", tmp_path)


def test_the_default_name_says_the_size_of_the_images(
    files: RunFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smaller = f"{files.folder.parent.name}-32px"
    files = RunFiles(folder=files.folder.parent.rename(files.folder.parents[1] / smaller) / files.folder.name)
    kept = json.loads(files.record.read_text())
    kept["recipe"]["resize"] = 32
    files.record.write_text(json.dumps(kept))
    found = results.read_record(files)
    ran = results.same_run.recorded_run(found)
    save_weights(files.weights, build("resnet20", num_classes=10), results.weights_metadata(ran, found, 10))
    results.write_record(files, found)
    monkeypatch.chdir(tmp_path)
    run("export", f"cifar10/{smaller}/seed0", "--to", "safetensors", "--results-dir", files.folder.parents[2])
    assert read_metadata(tmp_path / f"{smaller}-seed0.safetensors")["run"] == f"cifar10/{smaller}/seed0"


def test_images_of_any_size_and_kind_are_classified(files: RunFiles, tmp_path: Path) -> None:
    image = Image.new("RGB", (64, 48), (90, 160, 220))
    names = ["photo.jpg", "gray.png", "palette.png", "small.png"]
    for name, mode in zip(names, ("RGB", "L", "P", "RGBA"), strict=True):
        image.convert(mode).resize((32, 32) if name == "small.png" else image.size).save(tmp_path / name)
    where = ("--results-dir", files.folder.parents[2])
    out = run("predict", TRAINED, *(tmp_path / name for name in names), "--top", 4, *where)
    lines = out.splitlines()
    assert lines[0] == f"{tmp_path}/photo.jpg (64 x 48, its middle resized to 32 x 32)"
    assert lines[15] == f"{tmp_path}/small.png (32 x 32)" and len(lines) == 20
    net = resrepro.load_net(files.folder)
    probabilities = net(read_view(tmp_path / "photo.jpg", net)[0][None]).softmax(1)[0]
    assert lines[1] == f"  {100 * probabilities.max():5.1f} %  {net.class_names[probabilities.argmax()]}"
    assert [line.split()[0] for line in lines[1:5]] == sorted((line.split()[0] for line in lines[1:5]), key=float)[::-1]
    (tmp_path / "cut.png").write_bytes((tmp_path / "gray.png").read_bytes()[:60])
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "folder.png").mkdir()
    for name, why in (
        ("cut.png", "not a readable image"),
        ("text.png", "cannot identify"),
        ("none.png", "No such file"),
        ("folder.png", "Is a directory"),
    ):
        said = error("predict", TRAINED, tmp_path / "photo.jpg", tmp_path / name, *where)
        assert said.startswith(f"{tmp_path}/{name}: not a readable image (") and why in said
        assert said.endswith("; expected PNG, JPEG or the like")


def test_a_view_is_upright_and_the_middle_of_the_image(tmp_path: Path) -> None:
    """A camera's note that the image lies on its side is followed."""
    image = Image.new("RGB", (120, 40), "black")
    image.paste("white", (40, 0, 80, 40))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by a quarter
    image.save(tmp_path / "a.png", exif=exif)
    view, done = read_view(tmp_path / "a.png", classifier("resnet8"))
    assert view.shape == (3, 40, 40) and view.min() == 255 and done == "40 x 120, its middle resized to 40 x 40"


@pytest.mark.parametrize(("side", "recipe"), [(40, {}), (120, {}), (40, {"resize": 40}), (40, {"scale_crop": CROP})])
def test_an_image_of_16_bits_is_seen_as_in_training(tmp_path: Path, side: int, recipe: dict[str, Any]) -> None:
    """PIL turns it white."""
    Image.new("I;16", (side, side), 100 * 257).save(tmp_path / "a.png")
    net = classifier("resnet8")
    trained = tiny_recipe(crop_padding=0).model_copy(update=recipe)
    net.run = Run.model_copy(net.run, update={"recipe": trained})
    assert read_view(tmp_path / "a.png", net)[0].unique().tolist() == [100]


def test_a_net_for_crops_sees_the_single_view(tmp_path: Path) -> None:
    Image.new("RGB", (300, 200)).save(tmp_path / "a.png")
    recipe = tiny_recipe(crop_padding=0).model_copy(update={"scale_crop": CROP})
    net = classifier("resnet8")
    net.run = Run.model_copy(net.run, update={"recipe": recipe})
    view, done = read_view(tmp_path / "a.png", net)
    assert view.shape == (3, 40, 40) and done == "300 x 200, center crop of 40 x 40"


@pytest.mark.parametrize(
    ("to", "suffix"),
    [("safetensors", ".safetensors"), ("torchvision", ".pth"), ("onnx", ".onnx"), ("torch-hub-folder", "")],
)
def test_a_disk_that_is_full_is_one_line_and_leaves_nothing(
    to: str, suffix: str, files: RunFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch's own writer hides why it failed."""

    def full(path: Path, _: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    left = tmp_path / f"net{suffix}.{platform.node()}.999999999.tmp"  # by a process that was killed
    left.mkdir()
    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.setitem(exporting.TORCHVISION, "resnet20", "resnet18")
    monkeypatch.setattr(exporting, "_program", lambda *_: None)
    monkeypatch.setattr(torch.export, "save", lambda *_: None)
    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: full(tmp_path, b""))
    path = tmp_path / f"net{suffix}"
    assert f"{path}: cannot be written: No space left on device" in fails(files, "--to", to, "--output", path)
    assert [path.name for path in tmp_path.iterdir()] == ["results"]
