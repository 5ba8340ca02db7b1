"""Judge a claim that a test makes, on the runs of a shipped experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from resrepro.config.experiment import Claim
from resrepro.config.toml_files import find_experiment
from resrepro.report.judge import judge
from resrepro.report.verdict import Verdict


def decide(results_dir: Path, experiment: str = "seeds", **fields: Any) -> Verdict:
    claim = Claim(**{"text": "t", "column": "test_error_pct", **fields})
    chosen = find_experiment("cifar-resnet" if experiment == "seeds" else experiment)
    if experiment == "seeds":  # five of each net
        chosen = chosen.select(seeds=range(5))
    (verdict,) = judge([(chosen, claim)], results_dir)
    return verdict


def status(*arguments: Any, **fields: Any) -> str:
    return decide(*arguments, **fields).status
