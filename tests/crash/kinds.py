"""The commands that the campaign breaks, what each leaves, and what counts as right."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from crash.server import Fault, Outcome, Server
from resrepro import results
from resrepro.errors import UserError
from resrepro.models.saved import read_saved
from resrepro.results.digests import check_files, sha256
from resrepro.results.paths import RunFiles, stored_runs
from support.images import write_tree

RECIPE = """
preset = "cifar-decay-all"
total_iters = 2
batch_size = 8
lr = 0.05
lr_drop_iters = [1]
curve_every_iters = 1
crop_padding = 2
bn_average_batches = 1
"""
PLAIN = f"""
title = "Plain"
dataset = "shapes"
[recipe]{RECIPE}
[[run]]
arch = "plain8"
"""
FIGURE = '[[figure]]\nname = "tiny"\ntitle = "T"\n[[figure.panel]]\ntitle = "p"\nruns = ["plain8"]\n'
RUN = "run {toml} --device cpu --precision fp32 --results-dir {results}"
STORED = "shapes/plain8/seed0"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Says which command is broken, and which are typed before it; all that it writes lies in {results}."""

    experiment: str = PLAIN + FIGURE
    before: tuple[str, ...] = (RUN,)
    command: str


def _run(experiment: str, options: str = "") -> Kind:
    return Kind(experiment=experiment, before=(), command=f"{RUN} {options}")


RUNS = {
    "plain": _run(PLAIN),
    "caffe": _run(
        PLAIN.replace("[[run]]", 'momentum_form = "caffe"\nbn_devices = 2\n[[run]]').replace('"plain8"', '"resnet8"')
    ),
    "constructed": _run(PLAIN + '[[run]]\nname = "deep"\narch = "plain14"\nstart_from = "plain8"\n'),
    "jobs": _run(PLAIN + '[[run]]\narch = "resnet8"\n', "--jobs 2"),
    "events": _run(PLAIN, "--log tensorboard"),
    "figure": _run(PLAIN + FIGURE),
}
EXPORT = f"export {STORED} --results-dir {{results}}"
OTHERS = {
    "plot": Kind(command="plot {toml} --format png,svg --results-dir {results}"),
    "report": Kind(command="report --results-dir {results}"),
    "table": Kind(command="table 6 --results-dir {results}"),
    "evaluate": Kind(command=f"evaluate {{results}}/{STORED} --device cpu"),
    "export": Kind(command=f"{EXPORT} --to safetensors --output {{results}}/net.safetensors"),
    "hub": Kind(command=f"{EXPORT} --to torch-hub-folder --output {{results}}/hub"),
    "prepare": Kind(before=(), command="data prepare folder:{images} --workers 0 --data-dir {results}"),
}
QUICK = [name for name in OTHERS if name != "hub"]  # which takes seconds
KINDS = RUNS | OTHERS
TIMES = {"run.json": {"wall_time_s", "finished_at", "sha256"}, "checkpoint.pt": {"elapsed_s", "points"}}


@dataclass(frozen=True, kw_only=True)
class Place:
    """A folder of its own in which one kind of command is typed, again and again."""

    server: Server
    folder: Path
    kind: str

    @property
    def results(self) -> Path:
        return self.folder / "results"

    def words(self, command: str) -> list[str]:
        """Return the words of a command, with the paths in this place."""
        paths = {"toml": self.folder / "tiny.toml", "results": self.results, "images": self.folder / "images"}
        return [word.format(**paths) for word in command.split()]

    def type(self, command: str, fault: Fault | None = None) -> Outcome:
        """Type any command here."""
        return self.server.type(self.results, *self.words(command), fault=fault)

    def again(self, fault: Fault | None = None) -> Outcome:
        """Type the command of this kind."""
        return self.type(KINDS[self.kind].command, fault)

    def write_inputs(self) -> None:
        """Write what commands read: an experiment, and images."""
        if not self.folder.exists():
            write_tree(self.folder / "images", train=4, val=2)
            (self.folder / "tiny.toml").write_text(KINDS[self.kind].experiment)

    def reset(self) -> None:
        """Put back what there is before the command is typed."""
        self.write_inputs()
        shutil.rmtree(self.results, ignore_errors=True)
        before, commands = self.folder / "before", KINDS[self.kind].before
        if commands and not before.exists():
            for command in commands:
                outcome = self.type(command)
                assert outcome.code == 0, outcome.text
            self.results.rename(before)
        if commands:
            self.restore(before)

    def restore(self, kept: Path) -> None:
        """Put back the results of which there is a copy."""
        shutil.rmtree(self.results, ignore_errors=True)
        shutil.copytree(kept, self.results)

    def contents(self) -> dict[str, Any]:
        """Return what the results hold, by path, without what tells the time; `damaged` where they contradict it."""
        found = {}
        for path in sorted(path for path in self.results.rglob("*") if path.is_file() and path.name[0] != "."):
            name = path.relative_to(self.results).as_posix()
            try:
                found[name.partition("/events.out.")[0]] = _content(path)
            except (UserError, ValueError) as error:
                found[name] = f"damaged: {error}"
        for files in stored_runs(self.results):
            found[f"{files.folder.relative_to(self.results)} is whole"] = _damage(files) or "yes"
        return found


def wrong(outcome: Outcome, signal: int = 0) -> str:
    """Return how a command ended that must not end so: a traceback, a hang, a failure without its line; else nothing.

    Args:
        signal: the number of the one that may have ended it.
    """
    errors = [line for line in outcome.text.splitlines() if line.startswith("error: ")]
    if outcome.timed_out:
        return "hangs"
    if "Traceback" in outcome.text or "Warning" in outcome.text:
        return f"traceback or warning: {outcome.text[-1500:]}"
    if outcome.code in (0, -signal):
        return f"exit code {outcome.code}, and an error: {errors[0]}" if errors and outcome.code == 0 else ""
    if outcome.code != 1 or not errors:
        return f"exit code {outcome.code}, expected 0, or 1 and its line: {outcome.text[-500:]}"
    return ""


def difference(found: dict[str, Any], expected: dict[str, Any]) -> str:
    """Return the first files in which two `contents` differ; nothing where they do not."""
    differing = [name for name in sorted({*found, *expected}) if found.get(name) != expected.get(name)]
    shown = [f"{name}: {str(found.get(name))[:300]}, expected {str(expected.get(name))[:300]}" for name in differing]
    return "; ".join(shown[:3])


def _content(path: Path) -> Any:
    if path.name == "run.json":
        return {key: value for key, value in json.loads(path.read_text()).items() if key not in TIMES[path.name]}
    if path.name == "curves.csv":
        rows = csv.DictReader(io.StringIO(path.read_text()))
        return [{key: value for key, value in row.items() if key != "elapsed_s"} for row in rows]
    if path.name == "checkpoint.pt":
        state = {key: value for key, value in read_saved(path).items() if key not in TIMES[path.name]}
        return str(plain(state))
    return "events" if path.name.startswith("events.out.") else sha256(path)


def plain(value: Any) -> Any:
    """Return nested values with the digests of their tensors."""
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, torch.Tensor):
        return value.dtype, value.shape, hashlib.sha256(value.numpy().tobytes()).hexdigest()
    return value


def _damage(files: RunFiles) -> str:
    try:
        record = results.read_record(files)
        if record is None:
            return "not finished"
        check_files(files, record)
    except UserError as error:
        return str(error)
    wanted = record.sha256.get(files.weights.name)
    return "" if wanted in (None, sha256(files.weights)) else f"{files.weights}: damaged"
