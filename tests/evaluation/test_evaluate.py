"""`evaluate`: runs and weights, what it records of them, and the tables that show it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from resrepro import results
from resrepro.cli import app
from resrepro.cli.evaluate import PROTOCOLS
from resrepro.config.run import Run
from resrepro.data.dataset import DataOptions
from resrepro.data.image_files import packed, packing
from resrepro.data.image_files.listing import list_image_folder
from resrepro.data.image_files.pixel_mean import pixel_mean
from resrepro.data.image_files.training_views import NetInput, ScaleCropViews
from resrepro.data.in_memory.images import Images
from resrepro.errors import UserError
from resrepro.evaluation import batch_norm
from resrepro.evaluation.batch_norm import reestimated
from resrepro.evaluation.evaluate import EvaluationOptions, evaluate, load
from resrepro.evaluation.protocol_views import view_batches
from resrepro.evaluation.trained_nets import find
from resrepro.models import build
from resrepro.models.weights import CHECKPOINT_FORMAT
from resrepro.report.tables import TABLES
from resrepro.results.records import Errors, Evaluation
from resrepro.runtime.device import choose
from support.images import write_image
from support.recipes import tiny_recipe, tiny_run
from support.records import record
from support.stored_runs import store_errors, table_rows
from support.trainings import runner

pytestmark = pytest.mark.usefixtures("few_images")


def command(*words: object) -> str:
    """The output of `evaluate`, in this process.

    Raises:
        UserError: as the command does.
    """
    done = CliRunner().invoke(app, ["evaluate", *map(str, words)], terminal_width=200, env={"COLUMNS": "200"})
    if isinstance(done.exception, UserError):
        assert "\n" not in str(done.exception)
        raise done.exception
    assert done.exception is None, done.output
    return done.output


def cells(output: str, name: str) -> list[list[str]]:
    """The cells of a net's row, and of the next."""
    lines = output.splitlines()
    first = next(i for i, line in enumerate(lines) if line.strip().startswith(name))
    return [lines[first].strip().removeprefix(name).split(), lines[first + 1].split()]


def trained(results_dir: Path, run: Run, *, num_classes: int, weights_seed: int = 0) -> Path:
    """The folder of a finished run, without the training."""
    files = results.run_files(results_dir, run)
    results.write_record(files, record(run))
    model = build(run.arch, num_classes=num_classes, seed=weights_seed).state_dict()
    last = {"format": CHECKPOINT_FORMAT, "iteration": run.recipe.total_iters, "engine": {"model": model}}
    torch.save(last, files.checkpoint)
    return files.folder


@pytest.mark.parametrize("train_images", [None, 200])
def test_a_run_gives_the_errors_of_its_own_record_before_and_after_bn_is_reestimated(
    tmp_path: Path, train_images: int | None
) -> None:
    run = tiny_run(bn_devices=2, train_images=train_images)
    assert runner(tmp_path).run_all([run]) == []
    folder = results.run_files(tmp_path, run).folder
    known = results.read_record(results.run_files(tmp_path, run))
    moving, again = cells(command(folder, "--device", "cpu"), str(run))
    assert moving[:2] == ["moving", f"{known.final_test_error_pct:.2f}"]
    assert again[:2] == ["re-estimated", f"{known.final_test_error_bn_reestimated_pct:.2f}"]
    assert moving[-1] != again[-1]
    (found,) = results.read_record(results.run_files(tmp_path, run)).evaluations
    assert (found.members, found.protocol, found.scales) == ((str(run),), "single view", ())
    assert found.moving.top1_pct == pytest.approx(known.final_test_error_pct)
    last = results.read_points(results.run_files(tmp_path, run))[-1]
    assert found.moving.loss == pytest.approx(last.test_loss, rel=1e-5)  # so the mean subtracted is the same
    assert json.loads((folder / "run.json").read_text()).keys() == known.model_dump().keys()  # it stays as it was
    results.write_record(results.RunFiles(folder=folder), known.model_copy(update={"precision": "bf16"}))
    shown = command(folder, "--device", "cpu")
    assert f"was trained in bf16, and recorded there {known.final_test_error_pct:.2f} %" in shown
    assert len(results.read_evaluations(folder / "evaluations.json")) == 1  # in its place, not beside it
    with pytest.raises(UserError, match=r"no larger image to cut crops from.*--protocol center"):
        command(folder, "--protocol", "10-crop")


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files of five classes; BN is re-estimated on few mini-batches, for the tests' sake."""
    monkeypatch.setattr(batch_norm, "NUM_MINI_BATCHES", 3)
    for part, count in (("train", 4), ("val", 2)):
        for k, label in enumerate("abcde"):
            for i in range(count):
                write_image(tmp_path / "tree" / part / label / f"{i}.png", 70 + 10 * i, 90, 10 * k + i)
    return tmp_path / "tree"


def imagenet_run(tree: Path, seed: int = 0, largest: int = 137) -> Run:
    recipe = tiny_recipe(batch_size=4, crop_padding=0, scale_crop={"size": 64, "shorter_side": (73, largest)})
    return Run(dataset=f"folder:{tree}", name="r18", arch="resnet18-A", recipe=recipe, seed=seed, label="r18")


def test_bn_is_reestimated_on_the_training_views_that_would_have_come_next(tree: Path, tmp_path: Path) -> None:
    run = imagenet_run(tree, seed=3)
    nets = find([trained(tmp_path / "results", run, num_classes=5)])
    setup = EvaluationOptions(protocol="single view", max_images=10, compute=choose("cpu", "fp32"))
    options = DataOptions(data_dir=tmp_path)
    dataset = load(nets, setup, options)
    (scores,) = evaluate(nets, setup, dataset, ensemble=False)

    files = list_image_folder(tree).train
    assert run.recipe.scale_crop is not None
    mean = pixel_mean(files, run.recipe.scale_crop, run.dataset, options)
    views = ScaleCropViews(files, image_size=64, shorter_side=(73, 137), batch_size=4, seed=3)
    net_input = NetInput(mean, device=torch.device("cpu"))
    batches = [views[run.recipe.total_iters + i] for i in range(3)]  # 10 images need 3 mini-batches of 4
    inputs = [net_input.augmented(b.images, b.flip, b.alphas) for b in batches]
    net = build("resnet18-A", num_classes=5, seed=0)
    x = torch.cat([v[:, 0] for _, v in view_batches(dataset, range(10), setup.views(nets[0]))])
    with reestimated(net, inputs, setup.compute), torch.no_grad():
        logits = net.eval()(net_input.single_view(x))
    want = torch.nn.functional.cross_entropy(logits, dataset.test_labels).item()
    assert scores.reestimated.loss == pytest.approx(want, rel=1e-4)
    assert scores.moving.loss != pytest.approx(want, rel=1e-2)


def test_nets_of_which_one_asks_for_more_than_prepared_images_have_see_the_files(tree: Path, tmp_path: Path) -> None:
    runs = imagenet_run(tree), imagenet_run(tree, seed=1, largest=481)
    nets = find([trained(tmp_path, run, num_classes=5) for run in runs])
    options = DataOptions(data_dir=tmp_path)
    packing.prepare(list_image_folder(tree), runs[0].dataset, options)
    setup = EvaluationOptions(protocol="single view", compute=choose("cpu", "fp32"))
    for chosen, place in ((nets[:1], packed.directory(runs[0].dataset, data_dir=tmp_path)), (nets, tree)):
        assert load(chosen, setup, options).folder.place == str(place)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "protocol", [pytest.param(p, marks=[pytest.mark.slow] if p == "multi-scale" else []) for p in PROTOCOLS]
)
def test_runs_and_their_ensemble_are_recorded_and_a_look_is_not(protocol: str, tree: Path, tmp_path: Path) -> None:
    results_dir = tmp_path / "results"
    folders = [trained(results_dir, imagenet_run(tree, seed), num_classes=5, weights_seed=seed) for seed in (0, 1)]
    words = (*folders, "--ensemble", "--protocol", protocol, "--device", "cpu", "--workers", 0)
    words = (*words, "--data-dir", tmp_path)
    shown = command(*words, "--max-images", 4)
    assert "10 images, of which a sample of 4, not recorded" in shown
    assert not list(results_dir.rglob("*evaluations.json")) and not list(results_dir.rglob("ensembles.json"))
    assert "ensemble of 2" in command(*words)
    for folder in folders:
        (found,) = results.read_evaluations(folder / "evaluations.json")
        assert found.protocol == PROTOCOLS[protocol] and found.as_in_paper(found.protocol)
        assert found.moving.top5_pct == 0 and found.precision == "fp32"
    (together,) = results.ensembles(results_dir, f"folder:{tree}")
    assert together.members == tuple(str(imagenet_run(tree, seed)) for seed in (0, 1))
    results.write_record(results.RunFiles(folder=folders[0]), record(imagenet_run(tree), finished_at="later"))
    assert results.ensembles(results_dir, f"folder:{tree}") == []  # one of them was trained anew
    assert results.read_record(results.RunFiles(folder=folders[0])).evaluations == ()


def test_an_unfinished_run_and_weights_are_not_recorded(tmp_path: Path, images: Images, tree: Path) -> None:
    run = imagenet_run(tree)
    folder = trained(tmp_path / "results", run, num_classes=5)
    files = results.RunFiles(folder=folder)
    files.record.unlink()
    results.write_asked(files, run)
    words = ("--device", "cpu", "--workers", 0, "--data-dir", tmp_path)
    assert "re-estimated" in command(folder, *words)
    shown = command(files.checkpoint, "--arch", "resnet18-A", "--dataset", f"folder:{tree}", "--image-size", 64, *words)
    assert "moving" in shown and "re-estimated" not in shown
    assert not list((tmp_path / "results").rglob("evaluations.json"))


def test_a_run_is_recorded_only_among_those_of_its_dataset(tree: Path, tmp_path: Path) -> None:
    run = imagenet_run(tree)
    net = find([trained(tmp_path, run, num_classes=5)])[0]
    assert net.results_dir == tmp_path
    for place in ("/w.pt", "/a/w.pt", "/a/b/w.pt", "/a/b/c/w.pt", "/a/b/c/d/w.pt"):
        assert replace(net, weights=Path(place)).results_dir is None


def test_what_cannot_be_evaluated_is_said_in_a_line(tmp_path: Path, tree: Path) -> None:
    folder = trained(tmp_path, imagenet_run(tree), num_classes=5)
    file = tmp_path / "w.pt"
    torch.save({}, file)
    for words, message in (
        ((tmp_path / "nowhere",), "evaluate: there is no file or run '"),
        ((tree,), "no run there: neither run.json nor asked.json"),
        ((file,), r"--arch \(not given\): expected one for all 1 weight"),
        ((file, file, file, "--arch", "resnet20,resnet32"), "expected one for all 3"),
        ((folder, "--arch", "resnet18-A"), "a folder of a run says what it is"),
        ((folder, "--dataset", "cifar10"), "a run is tested on its own dataset"),
        ((folder, file, "--arch", "resnet20"), "w.pt: is of cifar10, but folder-tree/r18/seed0 of folder:"),
        ((folder, "--preprocess", "channel-mean-std"), "a run is tested as it was trained"),
        ((folder, "--ensemble"), "expected several nets"),
        ((folder, "--protocol", "11-crop"), "did you mean '10-crop'"),
        ((folder, "--scales", "224,256"), "the single view test has one scale"),
        ((folder, "--image-size", 64), "--image-size 64: is of weights"),
    ):
        with pytest.raises(UserError, match=message):
            command(*words)
    whole = trained(tmp_path, imagenet_run(tree).replace(name="whole", recipe=tiny_recipe()), num_classes=5)
    with pytest.raises(UserError, match=r"whole/seed0: sees whole images, but .*r18/seed0 crops of resized ones"):
        command(whole, folder)
    with pytest.raises(UserError, match="whole/seed0 sees whole images, which are not resized"):
        command(whole, "--scales", 300)
    (folder / "checkpoint.pt").unlink()
    with pytest.raises(UserError, match="no weights are stored: neither"):
        command(folder)
    diverged = record(imagenet_run(tree), status="diverged", diverged_iter=7)
    results.write_record(results.RunFiles(folder=folder), diverged)
    with pytest.raises(UserError, match="diverged at iteration 7"):
        command(folder)
    (folder / "evaluations.json").write_text("[{]")
    with pytest.raises(UserError, match=r"evaluations.json: damaged; delete it and evaluate again"):
        command(folder)


def evaluation(*members: str, top5: float, **changes: object) -> Evaluation:
    """Errors of 1 and 5 classes with BN re-estimated, and others with its moving averages."""
    values = {
        "members": members, "finished_at": ("now",) * len(members), "protocol": "10-crop", "scales": (256,),
        "moving": Errors(top1_pct=99.0, top5_pct=98.0, loss=1.0),
        "reestimated": Errors(top1_pct=top5 + 17, top5_pct=top5, loss=1.0), "device": "d", "precision": "fp32",
        "commit": None,
    }  # fmt: skip
    return Evaluation(**{**values, **changes})


def test_tables_2_to_4_show_what_was_recorded_and_name_what_is_to_be_measured(tmp_path: Path) -> None:
    store_errors(tmp_path, "imagenet", "resnet34-A", [26.6, 26.7, 26.8])
    name = "imagenet/resnet34-A/seed"
    for seed, top5 in ((0, 8.0), (1, 9.0)):
        results.record_evaluation(
            tmp_path / f"{name}{seed}" / "evaluations.json", evaluation(f"{name}{seed}", top5=top5)
        )
    other = evaluation(f"{name}0", top5=1.0, scales=(300,))  # not the paper's scale
    results.record_evaluation(tmp_path / f"{name}0" / "evaluations.json", other)
    row = table_rows(3, tmp_path)["ResNet-34 A"]
    assert (row["ours top-1 (%)"], row["ours top-5 (%)"]) == ("25.50±0.71", "8.50±0.71")
    assert (row["top-5 difference"], row["seeds"]) == ("+0.74", "2")
    missing = f"ResNet-34 A: trained; to measure: resrepro evaluate {tmp_path / name}2 --protocol 10-crop"
    assert missing in TABLES[3](tmp_path).notes
    assert "99.00" not in TABLES[2](tmp_path).to_csv()
    stale = evaluation(f"{name}0", top5=8.0, finished_at=("before",))
    results.record_evaluation(tmp_path / f"{name}0" / "evaluations.json", stale)
    assert table_rows(3, tmp_path)["ResNet-34 A"]["ours top-5 (%)"] == "9.00"


def test_table_5_shows_recorded_ensembles(tmp_path: Path) -> None:
    store_errors(tmp_path, "imagenet", "resnet34-A", [26.6, 26.7])
    members = [f"imagenet/resnet34-A/seed{seed}" for seed in (0, 1)]
    path = results.ensembles_file(tmp_path, "imagenet")
    results.record_evaluation(path, evaluation(*members, top5=7.0))
    assert len(table_rows(5, tmp_path)) == 6  # 10-crop is not Table 5's protocol
    six = "resnet34-B resnet34-C resnet50 resnet101 resnet152/seed0 resnet152/seed1"
    together = f"--ensemble --results-dir {tmp_path} {six}"
    assert TABLES[5](tmp_path).notes[1].endswith(together)
    scales = (224, 256, 384, 480, 640)
    results.record_evaluation(path, evaluation(*members, top5=5.0, protocol="multi-scale", scales=scales))
    table = table_rows(5, tmp_path)
    row = table["ours: resnet34-A/seed0, resnet34-A/seed1"]
    assert (row["ours top-5 (%)"], row["difference"], row["paper top-5 (%)"]) == ("5.00", "+1.43", "")
    assert table["ResNet, six models"]["ours top-5 (%)"] == ""


def test_how_far_a_checkpoint_is_is_looked_at(tmp_path: Path) -> None:
    """An unfinished run says it; of a finished one, another checkpoint is not the net of its record."""
    run = tiny_run()
    folder = trained(tmp_path, run, num_classes=10)
    files = results.run_files(tmp_path, run)
    content = torch.load(files.checkpoint, weights_only=True)
    torch.save({**content, "iteration": 5}, files.checkpoint)
    words = ("--data-dir", tmp_path, "--max-images", 8)
    done = CliRunner().invoke(app, ["evaluate", str(folder), *map(str, words)])
    assert str(done.exception).startswith(f"{files.checkpoint}: at iteration 5 of 12, but the run is finished")
    files.record.unlink()
    results.write_asked(files, run)
    assert "seed0 at iteration 5 of 12" in command(folder, *words)
    next(iter(content["engine"]["model"].values())).fill_(float("nan"))
    torch.save({**content, "iteration": 5}, files.checkpoint)
    done = CliRunner().invoke(app, ["evaluate", str(folder), *map(str, words)])
    assert "holds values that are not finite" in str(done.exception)
