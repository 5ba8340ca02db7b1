"""The functions for Python, `hubconf.py`, and the examples of docs/python.md, with the committed results."""

from __future__ import annotations

import doctest
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
import torch

import resrepro
from resrepro import results
from resrepro.config.toml_files import find_experiment
from resrepro.data.in_memory import shapes
from resrepro.training.step import Engine
from support.records import record
from support.stored_runs import stored

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
PLAIN20 = find_experiment("plain20-vs-plain56").runs[0]
TRAINED = "cifar10/resnet20/seed0"


def test_the_package_is_imported_without_torch_or_anything_heavy() -> None:
    program = (
        "import sys, resrepro\n"
        "heavy = {'torch', 'numpy', 'pandas', 'matplotlib', 'pydantic', 'typer'}\n"
        "assert not heavy & sys.modules.keys() and 'resrepro.api' not in sys.modules\n"
        f"assert len(resrepro.curves('fig1', results_dir={str(RESULTS)!r})) and 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


def test_all_names_are_there_and_no_others() -> None:
    assert all(getattr(resrepro, name) for name in resrepro.__all__) and set(resrepro.__all__) <= set(dir(resrepro))
    with pytest.raises(AttributeError, match="module 'resrepro' has no attribute 'load_nets'"):
        resrepro.load_nets  # noqa: B018


def test_the_examples_of_the_page_are_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "results").symlink_to(RESULTS)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```pycon\n(.*?)^```$", (ROOT / "docs/python.md").read_text(), re.MULTILINE | re.DOTALL)
    examples = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, "docs/python.md", None, 0)
    result = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(examples)
    assert result.attempted > 15 and result.failed == 0


def test_curves_are_those_of_ours_and_of_the_paper() -> None:
    curves = resrepro.curves("fig6-corners-decay-all", results_dir=RESULTS)
    assert set(curves["source"]) == {"ours", "paper"} and set(curves["kind"]) == {"train", "test"}
    fig6 = resrepro.curves("fig6", results_dir=RESULTS)
    paper = fig6[fig6["source"] == "paper"]
    assert {"plain20", "resnet110", "resnet1202"} <= set(paper["run"]) and paper["seed"].isna().all()
    kept = resrepro.curves("quickstart", results_dir=RESULTS)  # in a folder of its own, as for `resrepro.figure`
    assert {"plain-deep", "residual-deep"} < {*kept.run}
    one = resrepro.curves("cifar10/resnet56-decay-all/seed0", results_dir=RESULTS)
    ours = one[(one["source"] == "ours") & (one["kind"] == "test")]
    assert ours["error_pct"].iloc[-1] == 6.98 and ours["iteration"].iloc[-1] == 64_000
    by_name = resrepro.curves("resnet56-decay-all", results_dir=RESULTS)
    assert resrepro.curves(f"{RESULTS}/cifar10/resnet56-decay-all/seed0/").equals(one)  # also of other results
    assert by_name.equals(one) and set(by_name["run"]) == {"resnet56-decay-all"}  # and not that of a tenth


def test_a_shortened_schedule_has_no_curve_of_the_paper() -> None:
    curves = resrepro.curves("resnet20-decay-all-x0.1", results_dir=RESULTS)
    assert set(curves["source"]) == {"ours"} and set(curves["seed"]) == {0, 1, 2}


def test_a_run_on_smaller_images_keeps_its_name() -> None:
    curves = resrepro.curves("imagenette/plain34-plateau-decay-all-32px-x0.001", results_dir=RESULTS)
    assert set(curves["run"]) == {"plain34-plateau-decay-all-32px-x0.001"}


def test_a_run_that_started_from_trained_weights_has_no_curve_of_the_paper(tmp_path: Path) -> None:
    found = find_experiment("constructed-identity").runs
    run = next(run for run in found if run.start_from and run.arch == "plain56")
    stored(tmp_path, run)
    assert resrepro.curves(run.name, results_dir=tmp_path).empty


def test_another_recipe_under_a_known_name_is_no_curve_of_an_experiment(tmp_path: Path) -> None:
    files, run = results.run_files(tmp_path, PLAIN20), PLAIN20
    results.write_record(files, record(run, recipe={**record(run).recipe, "lr": 0.2}))
    with pytest.raises(resrepro.UserError, match=r"seed0/run.json: recipe.lr is 0.2 there, but the experiment asks"):
        resrepro.curves("fig1", results_dir=tmp_path)
    assert resrepro.curves("cifar10/plain20/seed0", results_dir=tmp_path).empty


def test_an_experiment_has_the_curves_of_its_runs(tmp_path: Path) -> None:
    curves = resrepro.curves("plain20-vs-plain56", results_dir=tmp_path)
    assert set(curves["run"]) == {"plain20", "plain56"} and set(curves["source"]) == {"paper"}


def test_a_figure_is_drawn_from_the_runs_that_come_with_the_program() -> None:
    assert len(resrepro.figure("quickstart", results_dir=RESULTS).axes) == 2


def test_a_figure_of_an_own_experiment_is_drawn(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(
        'title = "mine"\ndataset = "cifar10"\nrecipe = { preset = "cifar" }\n[[run]]\narch = "resnet20"\n'
        '[[figure]]\nname = "own"\nkind = "curves"\ntitle = "own"\n[[figure.panel]]\ntitle = "one"\n'
        'runs = ["resnet20"]\nshow = ["test"]\n'
    )
    figure = resrepro.figure("own", experiment=mine, results_dir=RESULTS)
    assert figure.get_suptitle() == "own" and figure.axes[0].lines
    with pytest.raises(resrepro.UserError, match=r"mine\.toml: there is no figure 'fig6'"):
        resrepro.figure("fig6", experiment=mine, results_dir=RESULTS)


def test_unknown_names_are_one_line(tmp_path: Path) -> None:
    for call, message in (
        (lambda: resrepro.curves("fig66", results_dir=RESULTS), "no figure, experiment or stored run 'fig66'; did you"),
        (lambda: resrepro.figure("fig66", results_dir=RESULTS), "there is no figure 'fig66'; did you mean 'fig6'"),
        (lambda: resrepro.load_net("resnet22", results_dir=RESULTS), "load_net: there is no run 'resnet22'; did you"),
        (lambda: resrepro.records(results_dir=tmp_path / "none"), "none: no such folder"),
        (lambda: resrepro.build_net("plain57"), "architecture 'plain57': a CIFAR net of these blocks has 6n"),
        (lambda: resrepro.build_net("plain20", num_classes=0), "num_classes 0: expected 1 or more"),
        (lambda: resrepro.curves("fig6", results_dir=tmp_path / "none"), "none: no such folder"),
        (lambda: resrepro.run("quickstart", seeds=[0.5], results_dir=tmp_path), "seed 0.5: expected an integer"),
        (lambda: resrepro.run("quickstart", only=["resnet14"]), "only: there is no run 'resnet14'"),
        (lambda: resrepro.run("quickstart", schedule_scale=2), "schedule-scale 2: expected more than 0 and at most 1"),
        (lambda: resrepro.run("quickstart", dataset="cifar11"), "cifar11"),
        (lambda: resrepro.run(), "run: name an experiment"),
    ):
        with pytest.raises(resrepro.UserError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_a_loaded_net_takes_bytes_and_floats_and_refuses_other_sizes() -> None:
    net = resrepro.load_net(TRAINED, results_dir=RESULTS)
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    assert torch.equal(net(images), net.net(images - net.pixel_mean)) and not net.training
    torch.testing.assert_close(net(images), net(images / 255), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(net(images.double() / 255), net(images), atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match="expected floats from 0 to 1, or integers to 255"):
        net(images.float())
    with pytest.raises(ValueError, match=r"images \(4, 3, 28, 28\): expected \(N, 3, 32, 32\)"):
        net(images[:, :, :28, :28])
    with pytest.raises(ValueError, match="images: expected a tensor of torch, got ndarray"):
        net(images.numpy())


def test_run_trains_what_is_missing_and_its_net_has_the_recorded_error(
    few_images: None, toml: Callable[..., Path], tmp_path: Path
) -> None:
    where, path = tmp_path / "mine", str(toml())
    done = resrepro.run(path, only=["plain8"], results_dir=where, device="cpu", precision="fp32")
    assert done["run"].tolist() == ["shapes/plain8/seed0"] and done["has_weights"].all()
    assert resrepro.run(path, only=["plain8"], results_dir=where, device="cpu", precision="fp32").equals(done)
    assert set(resrepro.curves(path, results_dir=where)["run"]) == {"plain8"}
    short = resrepro.run(path, only=["plain8"], schedule_scale=0.5, results_dir=where, device="cpu", precision="fp32")
    assert short["run"].tolist() == ["shapes/plain8-x0.5/seed0"]
    net = resrepro.load_net("shapes/plain8/seed0", results_dir=where)
    images, labels = (torch.from_numpy(array) for array in shapes.generate()[2:])
    with torch.no_grad():
        wrong = net(images.permute(0, 3, 1, 2)).argmax(1) != labels
    assert 100 * wrong.double().mean().item() == net.record.final_test_error_pct
    assert net.class_names == shapes.CLASS_NAMES


def test_a_stopped_run_is_a_keyboard_interrupt_and_goes_on_with_the_same_call(
    few_images: None, toml: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train() -> pd.DataFrame:
        return resrepro.run(str(toml()), only=["plain8"], results_dir=tmp_path, device="cpu", precision="fp32")

    with ThreadPoolExecutor(1) as pool, pytest.raises(resrepro.UserError, match="call it in the main thread"):
        pool.submit(train).result()
    step = Engine.step

    def interrupted(self: Engine, iteration: int, lr: float) -> None:
        step(self, iteration, lr)
        if iteration == 6:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt, match="stopped at iteration 7"):
        patch.setattr(Engine, "step", interrupted)
        train()
    (run,) = [run for run in find_experiment(str(toml())).runs if run.name == "plain8"]
    assert results.run_files(tmp_path, run).has_checkpoint
    assert train()["status"].tolist() == ["finished"]


def test_torch_hub_builds_nets_and_loads_trained_ones() -> None:
    def hub(arch: str, **options: object) -> torch.nn.Module:
        return torch.hub.load(str(ROOT), arch, source="local", **options)

    images = torch.zeros(1, 3, 32, 32)
    trained = hub("resnet20", pretrained=True)
    assert trained.run.path.as_posix() == TRAINED
    assert torch.equal(trained(images), resrepro.load_net(TRAINED, results_dir=RESULTS)(images))
    assert hub("plain20-nobn")(images).shape == (1, 10) and hub("resnet56", seed=1).training
    with pytest.raises(resrepro.UserError, match="pretrained: no weights of plain110 are stored"):
        hub("plain110", pretrained=True)
    with pytest.raises(resrepro.UserError, match="; 'resrepro run cifar-1202 --only resnet1202' trains it"):
        hub("resnet1202", pretrained=True)
