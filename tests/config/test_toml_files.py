from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from resrepro.config.run import Variation
from resrepro.config.toml_files import find_experiment, read_experiment
from resrepro.errors import UserError


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('arch = "plain8"', 'arch = "plane8"', r"run 'plane8': unknown architecture 'plane8'; did you mean 'plain"),
        ('arch = "plain8"', 'arch = "vgg16"', r"run 'vgg16': unknown architecture 'vgg16'"),
        ('arch = "plain8"', 'arch = "my_nets:"', r"run 'my_nets:': architecture 'my_nets:': expected MODULE:NAME"),
        (
            'arch = "plain8"',
            'arch = "my_nets:resnet14"',
            r"'resnet14' is the name of another net; give the run",
        ),
        ('arch = "plain8"', 'arch = "my_nets:_net"', r"'_net' cannot name a folder; give the run a 'name'"),
        (
            'arch = "plain8"',
            'arch = "my_nets:Net"\nrecipe = { fc_init = "he" }',
            r"run 'my_nets:Net': recipe: init, fc_init: my_nets:Net initializes itself; leave them out",
        ),
        ("lr_drop_iters", "lr_drop_iter", r"recipe: unknown key 'lr_drop_iter'; did you mean 'lr_drop_iters'\?"),
        ("lr = 0.05", 'lr = "fast"', r"run 'plain8': recipe: lr: got 'fast': input should be a valid number"),
        ("lr = 0.05", "lr = -1", r"lr: got -1: input should be greater than 0"),
        ("batch_size = 8", "batch_size = 8\nbn_devices = 3", r"recipe: bn_devices 3: expected a divisor of .* \(8\)"),
        ("batch_size = 8", 'batch_size = 8\ndecay = "bn"', r"decay: got 'bn': input should be 'all', 'weights' or"),
        ("batch_size = 8", 'batch_size = 8\nmomentum_form = "nag"', r"momentum_form: got 'nag': input .*'caffe'"),
        ("batch_size = 8", "batch_size = 8\ntrain_images = 0", r"train_images: got 0: input should be greater"),
        ("batch_size = 8", "batch_size = 8.5", r"batch_size: got 8.5: input should be a valid integer"),
        ("[6, 9]", "[9, 6]", r"lr_drop_iters \[9, 6\]: expected increasing"),
        ("[6, 9]", "[6, 12]", r"between 0 and total_iters \(12\)"),
        ('preset = "cifar-decay-all"', 'preset = "cifr"', r"unknown preset 'cifr'; did you mean 'cifar'\?"),
        ('dataset = "shapes"', 'dataset = "shape"', r"unknown dataset 'shape'; did you mean 'shapes'\?"),
        ('title = "a test"', 'titel = "a test"', r"unknown key 'titel'; did you mean 'title'\?|'title' is missing"),
        ("seeds = [0, 1]", "seeds = [0, 0]", r"run 'resnet8' seed 0 is declared twice"),
        ("seeds = [0, 1]", "seeds = [-1]", r"seeds: got -1"),
        ("seeds = [0, 1]", 'seeds = "0-4"', r"seeds: got '0-4': expected an array, such as \[0, 1\]"),
        ("seeds = [0, 1]", "seeds = []", r"seeds: got \[\]: expected at least one"),
        ('arch = "plain8"', 'arch = "plain8"\nname = "my net"', r"name: got 'my net': expected letters and digits of"),
        ("seeds = [0, 1]", "seed = [0]", r"run 2: unknown key 'seed'; did you mean 'seeds'\?"),
        ('higher = "plain8"', 'higher = "plain9"', r"claim '.*': unknown run 'plain9'; did you mean 'plain8'\?"),
        ('runs = ["plain8", "resnet8"]', 'runs = ["plan8"]', r"figure 'tiny': unknown run 'plan8'"),
        ('title = "both"', 'tittle = "both"', r"unknown key 'tittle'; did you mean 'title'\?|'title' is missing"),
        ('preset = "cifar-decay-all"', "preset = {x=1}", r"unknown preset"),
        ('title = "both"', 'title = "both"\nshow = []', r"show: got \[\]: expected at least one"),
        ('name = "tiny"', 'name = "tiny"\nkind = "gradients"', r"panel 'both' has 2 runs; kind 'gradients' has one a"),
        ('name = "tiny"', 'name = "tiny"\nabout = ["plain2"]', r"about 'plain2': no panel has this run; did you mean"),
        ('name = "tiny"', 'name = "tiny"\nkind = "curve"', r"kind: got 'curve': input should be 'curves', 'dist"),
        (
            '[[figure]]\nname = "tiny"',
            '[[figure]]\nname = "tiny"\ntitle = "t"\n[[figure.panel]]\ntitle = "p"\nruns = ["plain8"]\n[[figure]]\n'
            'name = "tiny"',
            r"figure 'tiny' is declared twice; give one of them another 'name'",
        ),
        ('name = "tiny"', 'name = ".."', r"figure 1: name: got '..'"),
        ("[recipe]", "[recipe", r"cannot be read as TOML"),
        ("lr = 0.05", f"lr = {5000 * '9'}", r"cannot be read as TOML: Exceeds the limit"),
        ('"a test"', '"a \\u001b[31mtest"', r"title: expected a text without line ends and control characters"),
        ('"a test"', '"""a\ntest"""', r"title: expected a text without line ends"),
        ('"both"', '"\\u0000"', r"figure: expected a text without line ends"),
        ("lr = 0.05", "lr = " + 5000 * "[" + 5000 * "]", r"tables and arrays are nested too deeply"),
        ("lr = 0.05", "lr = " + 50 * "[" + 50 * "]", r"recipe: tables and arrays are nested too deeply"),
        ("lr = 0.05", '"l\\u001br" = 1', r"recipe: unknown key 'l\\x1br'"),
        ("lr = 0.05", "lr." + ".".join(50 * "x") + " = 1", r"nested too deeply"),
        ('"shapes"', '"folder:~nobody-of-this-name/x"', r"dataset 'folder:~nobody.*expected the path of a folder"),
        ('"shapes"', '"folder:a\\u0000b"', r"dataset: expected a text without"),
        ('"shapes"', f'"folder:{300 * "x"}"', r"expected a folder with a printable name of at most 100 bytes"),
        ('arch = "plain8"', f'arch = "plain8"\nname = "{300 * "x"}"', r"name: got 'xx.*at most 100 characters"),
        ('name = "tiny"', f'name = "{300 * "x"}"', r"name: got 'xx.*at most 100 characters"),
        ('arch = "plain8"', 'arch = "plain\u0668"', r"unknown architecture 'plain\u0668'"),
        ('arch = "plain8"', 'arch = "plain6000002"', r"'plain6000002': expected at most 9998 layers"),
        ('arch = "plain8"', f'arch = "plain{6000 * "8"}"', r"expected at most 9998 layers"),
    ],
)
def test_a_mistake_is_named_with_place_and_fix(toml: Callable[..., Path], old: str, new: str, message: str) -> None:
    path = toml((old, new))
    with pytest.raises(UserError, match=message) as caught:
        find_experiment(str(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_phase_diagram_of_recipes_that_it_does_not_tell_apart_is_refused(toml: Callable[..., Path]) -> None:
    kind = (
        'name = "tiny"\ntitle = "A test"\n[[figure.panel]]\ntitle = "both"\nruns = ["plain8", "resnet8"]',
        'name = "tiny"\ntitle = "A test"\nkind = "phase"\n[[figure.panel]]\ntitle = "p"\nruns = ["plain8"]\n'
        '[[figure.panel]]\ntitle = "r"\nruns = ["resnet8"]',
    )
    for changed in ("lr = 0.2", "weight_decay = 0.1"):
        find_experiment(str(toml(kind, ('arch = "plain8"', f'arch = "plain8"\nrecipe = {{{changed}}}'))))
    path = toml(kind, ('arch = "plain8"', 'arch = "plain8"\nrecipe = {crop_padding = 3}'))
    with pytest.raises(
        UserError, match=r"figure 'tiny': its runs differ in crop_padding; expected recipes that differ"
    ):
        find_experiment(str(path))


def test_a_panel_of_a_phase_diagram_has_one_net_of_a_depth(toml: Callable[..., Path]) -> None:
    path = toml(('name = "tiny"', 'name = "tiny"\nkind = "phase"'))
    message = r"panel 'both': plain8 and resnet8 have 8 layers each; expected one net of a depth"
    with pytest.raises(UserError, match=message):
        find_experiment(str(path))


def test_unknown_experiment_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'cifar-plain'"):
        find_experiment("cifar-plane")
    with pytest.raises(UserError, match="no such file"):
        find_experiment("nowhere/mine.toml")


def test_a_run_may_differ_in_its_recipe_and_has_then_its_own_name(toml: Callable[..., Path]) -> None:
    path = toml(
        ('arch = "plain8"\n', 'arch = "plain8"\n[[run]]\narch = "plain8"\nname = "fast"\nrecipe = {lr = 0.2}\n')
    )
    runs = {r.name: r for r in read_experiment(path).runs}
    assert (runs["plain8"].recipe.lr, runs["fast"].recipe.lr) == (0.05, 0.2)


def test_a_net_of_other_code_initializes_itself_whatever_the_preset_says(toml: Callable[..., Path]) -> None:
    path = toml(("cifar-decay-all", "cifar"), ('arch = "plain8"', 'arch = "nets:MyNet"'), ("plain8", "MyNet"))
    own, ours = (next(r for r in find_experiment(str(path)).runs if r.name == name) for name in ("MyNet", "resnet8"))
    assert (own.recipe.fc_init, ours.recipe.fc_init) == ("pytorch", "gaussian")
    assert (own.recipe.decay, own.recipe.bn_average_batches) == ("weights", 100)


def test_a_net_of_other_code_is_named_and_not_imported(toml: Callable[..., Path]) -> None:
    path = toml(('arch = "plain8"', 'arch = "not_there.nets:MyNet"'), ("plain8", "MyNet"))
    run = find_experiment(str(path)).runs[0]
    assert (run.name, run.label, run.arch, run.arch_sha256) == ("MyNet", "MyNet", "not_there.nets:MyNet", None)


START = ('arch = "resnet8"\nseeds = [0, 1]', 'arch = "plain14"\nname = "deep"\nstart_from = "plain8"\nseeds = [0, 1]')


CROPS = "{crop_padding = 0, scale_crop = {size = 32, shorter_side = [32, 64]}}"


NAMES = (('lower = "resnet8"', 'lower = "deep"'), ('"plain8", "resnet8"]', '"plain8", "deep"]'))


def test_a_toml_says_what_a_run_starts_from(toml: Callable[..., Path]) -> None:
    experiment = read_experiment(toml(START, *NAMES))
    plain, *deep = experiment.runs
    assert [run.start_from for run in deep] == [plain, plain.replace(seed=1)]
    assert (deep[0].first_iter, plain.first_iter) == (6, 0)
    (varied,) = (
        experiment.variant(Variation(dataset="cifar100", schedule_scale=0.5)).select(seeds=[7], only=["deep"]).runs
    )
    assert varied.start_from is not None and str(varied.start_from.path) == "cifar100/plain8-x0.5/seed7"
    assert (varied.first_iter, varied.start_from.recipe.total_iters) == (3, 6)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"plain8"\nseeds', '"plain9"\nseeds', r"run 'deep': start_from: unknown run 'plain9'; did you mean 'plain8'"),
        ('"plain14"', '"resnet14"', r"two plain nets of CIFAR, .* ResNet-14 cannot be made of plain-8"),
        ('"plain14"', '"plain14-nobn"', r"plain-14 without BN cannot be made of plain-8"),
        ('arch = "plain14"\nname', 'arch = "plain20-bottleneck"\nname', "(bottlenecks.) cannot be made of plain-8"),
        ('start_from = "plain8"', 'start_from = "deep"', r"'deep': expected a run that starts from scratch"),
        ('arch = "plain8"', 'arch = "plain20"\nname = "plain8"', r"plain-14 cannot be made of plain-20"),
        ("start_from =", f"recipe = {CROPS}\nstart_from =", "taken as they are, so a recipe without scale_crop"),
        ("start_from =", "start_fro =", r"run 2: unknown key 'start_fro'; did you mean 'start_from'\?"),
    ],
)  # fmt: skip
def test_a_mistake_about_it_is_named(toml: Callable[..., Path], old: str, new: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_experiment(toml(START, *NAMES, (old, new)))
