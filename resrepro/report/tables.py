"""Make Tables 1 to 6: the paper's numbers beside ours, from `results/`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean

from resrepro import paper, results
from resrepro.config.architectures import ARCHITECTURES, architecture, counted_nets
from resrepro.config.toml_files import find_experiment, shipped_runs
from resrepro.paper import EvaluationProtocol
from resrepro.report.seeds import evaluate_command
from resrepro.results.paths import results_option
from resrepro.results.tables import Table, mean_std

OVER_SEEDS = "ours: last iteration, mean ± standard deviation over seeds"


@dataclass(frozen=True, kw_only=True)
class _Ours:
    """Hold our errors beside a published one.

    Args:
        errors: one a seed, %.
        moving: of the single view, likewise, with BN's moving averages.
        text: what the table shows.
        missing: why there is no number and which command measures it; empty if there is one.
    """

    errors: tuple[float, ...]
    moving: tuple[float, ...] = ()
    text: str
    missing: str

    def cells(self, published: float | None) -> tuple[str, str]:
        """Return mean ± standard deviation over the seeds, and the difference to the paper's error."""
        if not self.errors or published is None:
            return self.text, ""
        return self.text, f"{fmean(self.errors) - published:+.2f}"


def _ours(results_dir: Path, dataset: str, arch: str, protocol: EvaluationProtocol, top: int = 1) -> _Ours:
    """Read what all finished seeds of a net recorded under just this protocol."""
    pairs = shipped_runs(dataset)[arch]
    found, damaged = results.read_finished_seeds(results_dir, [run for _, run in pairs])
    records = list(found.values())
    errors = tuple(error for record in records if (error := record.error_pct(protocol, top)) is not None)
    num_diverged = sum(record.status == "diverged" for record in records)
    counts = ((num_diverged, "diverged"), (len(damaged), "damaged"))
    remark = ", ".join(f"{count} {what}" for count, what in counts if count)
    unmeasured = [
        results.run_files(results_dir, run).folder
        for run, record in found.items()
        if record.status == "finished" and record.error_pct(protocol, top) is None
    ]
    measure = f"trained; to measure: {evaluate_command(unmeasured, protocol)}"
    missing = "; ".join([*damaged.values(), *([measure] if unmeasured else [])])
    if errors:
        text = mean_std(errors)
        moving = (record.final_test_error_pct for record in records)
        return _Ours(
            errors=errors,
            moving=tuple(error for error in moving if error is not None),
            text=f"{text}, {remark}" if remark else text,
            missing=missing,
        )
    if unmeasured or remark:
        return _Ours(errors=(), text=f"no {protocol} error" if unmeasured else remark, missing=missing)
    return _Ours(errors=(), text="not run", missing=_command(results_dir, dataset, [name for name, _ in pairs]))


def _command(results_dir: Path, dataset: str, experiments: list[str]) -> str:
    """Return the command that trains a net: of the paper's experiment with most nets and fewest other runs."""
    declared = {name: {e for e, _ in pairs} for name, pairs in shipped_runs(dataset).items()}
    nets = Counter(e for name, these in declared.items() if name in ARCHITECTURES for e in these)
    runs = Counter(e for these in declared.values() for e in these)
    best = max(experiments, key=lambda e: (not find_experiment(e).beyond_paper, nets[e], -runs[e]))
    return f"not run; to train: resrepro run {best}{results_option(results_dir)}"


def _missing_notes(missing: list[tuple[str, str]]) -> tuple[str, ...]:
    """Return a line for each reason, with the nets it holds for."""
    reasons = dict.fromkeys(reason for _, reason in missing if reason)
    return tuple(f"{', '.join(name for name, why in missing if why == reason)}: {reason}" for reason in reasons)


def table1(_results_dir: Path) -> Table:
    """Make Table 1, architectures for ImageNet: the paper's stages, sizes and multiply-adds, and those of our nets."""
    rows = []
    for row in paper.TABLE_1:
        counts = counted_nets()[row.arch]
        sizes = [height for stage, (_, height, _) in counts.output_sizes.items() if stage != "maxpool"]
        ours = counts.num_multiply_adds / 1e9
        rows.append(
            (
                architecture(row.arch).label, _spaced(row.num_blocks), _spaced(counts.num_blocks),
                _spaced(paper.TABLE_1_OUTPUT_SIZES), _spaced(sizes),
                f"{row.multiply_adds_e9:.1f}", f"{ours:.2f}", f"{ours - row.multiply_adds_e9:+.2f}",
            )
        )  # fmt: skip
    return Table(
        title="Table 1: architectures for ImageNet",
        columns=(
            "net", "blocks, paper", "blocks, ours", "output sizes, paper", "output sizes, ours", "FLOPs, paper (1e9)",
            "FLOPs, ours (1e9)", "difference",
        ),
        rows=tuple(rows),
        notes=(
            "blocks: of conv2_x ... conv5_x; output sizes: of conv1, conv2_x ... conv5_x, pixels a side; FLOPs: "
            "multiply-adds, as in the paper; ours: counted from the nets, for one image of 224x224",
        ),
    )  # fmt: skip


def _spaced(numbers: tuple[int, ...] | list[int]) -> str:
    return " ".join(map(str, numbers))


def _imagenet(
    title: str, rows: tuple[paper.ImageNetRow, ...], protocol: EvaluationProtocol, results_dir: Path
) -> Table:
    """Make one of Tables 2 to 4, with columns for each published top-k error."""
    tops = [1] + [5] * any(row.top5_pct is not None for row in rows)
    cells, missing = [], []
    for row in rows:
        line = [row.method]
        num_seeds = ""
        for top in tops:
            published = row.top1_pct if top == 1 else row.top5_pct
            ours = _ours(results_dir, "imagenet", row.arch, protocol, top) if row.arch else None
            line += ["–" if published is None else f"{published:.2f}", *(ours.cells(published) if ours else ("", ""))]
            if ours and top == 1:
                num_seeds = str(len(ours.errors))
                missing.append((row.method, ours.missing))
        cells.append((*line, num_seeds))
    pairs = [
        column for top in tops for column in (f"paper top-{top} (%)", f"ours top-{top} (%)", f"top-{top} difference")
    ]
    return Table(
        title=title, columns=("method", *pairs, "seeds"), rows=tuple(cells),
        measured=tuple(f"ours top-{top} (%)" for top in tops),
        notes=(
            f"{protocol} errors on the validation set; {OVER_SEEDS}, BN's statistics re-estimated, as the "
            "author's repository says",
            *_missing_notes(missing),
        ),
    )  # fmt: skip


def table5(results_dir: Path) -> Table:
    """Make Table 5, ensembles. The paper does not name its six models, so ours are all that `evaluate` recorded."""
    *others, own = paper.TABLE_5
    ours = [e for e in results.ensembles(results_dir, "imagenet") if e.as_in_paper("multi-scale")]
    rows = []
    for ensemble in ours:
        error = ensemble.reestimated.top5_pct
        if error is not None:
            name = f"ours: {', '.join(member.partition('/')[2] for member in ensemble.members)}"
            rows.append((name, "", f"{error:.2f}", f"{error - (own.top5_pct or 0):+.2f}"))
    return Table(
        title="Table 5: ImageNet, ensembles",
        columns=("method", "paper top-5 (%)", "ours top-5 (%)", "difference"),
        measured=("ours top-5 (%)",),
        rows=(
            *((row.method, f"{row.top5_pct:.2f}", "", "") for row in others),
            (own.method, f"{own.top5_pct:.2f}", "" if rows else "not run", ""),
            *rows,
        ),
        notes=(
            "the paper's: errors on the test set, as reported by the test server",
            "ours: multi-scale errors on the validation set, BN re-estimated; difference: to the paper's six models"
            if rows
            else f"{own.method}: not run; to train: {_the_six(results_dir)}",
        ),
    )


def _the_six(results_dir: Path) -> str:
    """Return the commands that train the nets of the experiment `ensemble`, and measure them together."""
    runs = find_experiment("ensemble").runs
    seeds = Counter(run.name for run in runs)
    names = [run.name if seeds[run.name] == 1 else f"{run.name}/seed{run.seed}" for run in runs]
    where = results_option(results_dir)
    together = f"resrepro evaluate --protocol multi-scale --ensemble{where} {' '.join(names)}"
    return f"resrepro run ensemble{where}; then: {together}"


def table6(results_dir: Path) -> Table:
    """Make Table 6, CIFAR-10. The difference is to the paper's mean if it gives one, else to its only value."""
    rows, missing = [], []
    for row in paper.TABLE_6:
        published = f"{row.error_pct:.2f}"
        if row.mean_pct is not None:
            published += f" ({row.mean_pct:.2f}±{row.std_pct:.2f})"
        line = [row.method, str(row.num_layers or ""), f"{row.parameters_e6 or ''}", published]
        if row.arch is None:
            rows.append((*line, "", "", "", "", ""))
            continue
        ours = _ours(results_dir, "cifar10", row.arch, "single view")
        best = f"{min(ours.errors):.2f}" if len(ours.errors) > 1 else ""
        reference = paper.TEST_ERROR_PCT["cifar10", row.arch]
        moving = mean_std(ours.moving) if ours.moving else ""
        rows.append((*line, *ours.cells(reference), str(len(ours.errors)), best, moving))
        missing.append((f"{row.method}-{row.num_layers}", ours.missing))
    return Table(
        title="Table 6: CIFAR-10 test error",
        columns=(
            "method", "layers", "parameters (1e6)", "paper error (%)", "ours (%)", "difference", "seeds",
            "ours, best seed (%)", "ours, BN moving (%)",
        ),
        measured=("paper error (%)", "ours (%)", "ours, BN moving (%)"),
        rows=tuple(rows),
        notes=(
            f"{OVER_SEEDS}; the paper's 110 layers: best (mean ± std) of 5",
            "BN's statistics: averaged over training mini-batches; the last column has moving averages",
            *_missing_notes(missing),
        ),
    )  # fmt: skip


def results_table(results_dir: Path) -> Table:
    """Make the part of Table 6 that has our nets: the paper's error, ours and their difference."""
    whole = table6(results_dir)
    shown = ("paper error (%)", "ours (%)", "difference", "seeds")
    rows = [dict(zip(whole.columns, row, strict=True)) for row in whole.rows if row[0] == "ResNet"]
    return Table(
        title="CIFAR-10 test error (Table 6)",
        columns=("net", *shown),
        rows=tuple((f"ResNet-{row['layers']}", *(row[column] for column in shown)) for row in rows),
        measured=tuple(column for column in whole.measured if column in shown),
    )


TABLES: dict[int, Callable[[Path], Table]] = {
    1: table1,
    2: partial(_imagenet, "Table 2: ImageNet, plain and residual nets", paper.TABLE_2, "10-crop"),
    3: partial(_imagenet, "Table 3: ImageNet, 10-crop", paper.TABLE_3, "10-crop"),
    4: partial(_imagenet, "Table 4: ImageNet, single models, multi-scale", paper.TABLE_4, "multi-scale"),
    5: table5,
    6: table6,
}
