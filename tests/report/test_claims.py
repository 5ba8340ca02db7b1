"""The table of claims."""

from __future__ import annotations

from pathlib import Path

from resrepro.config.toml_files import experiment_names, find_experiment
from resrepro.report import claims
from support.stored_runs import finish


def test_the_same_claim_of_two_experiments_is_listed_once(tmp_path: Path) -> None:
    both = [find_experiment(name) for name in ("plain20-vs-plain56", "cifar-plain")]
    judged = claims.verdicts(both, tmp_path)
    fig1 = [v for _, v in judged if v.claim.runs == ("plain56", "plain20") and v.claim.column == "train_error_pct"]
    assert len(fig1) == 1 and len(judged) == sum(len(e.claims) for e in both) - 1


def test_the_table_has_the_papers_value_ours_difference_and_n(tmp_path: Path) -> None:
    finish(tmp_path, "resnet56", [7.0, 7.2])  # one seed is declared
    finish(tmp_path, "resnet110", [6.5, 6.5, 6.8])
    judged = claims.verdicts([find_experiment("cifar-resnet")], tmp_path)
    words = {"supported": "yes", "consistent (one run)": "yes", "inconclusive": "open", "not run": "-"}
    table = claims.table("T", judged, words)
    found = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    row = next(row for row in found if row["claim"].startswith("ResNet-110 has a lower test error"))
    assert row["paper"] == "ResNet-56: 6.97\nResNet-110: 6.61"
    assert row["ours"] == "ResNet-56: 7.00 (not counted: 7.20)\nResNet-110: 6.60±0.17"
    assert (row["difference"], row["n"], row["verdict"]) == ("+0.40 (+0.36)", "1, 3", "open")
    assert "95 % interval of the difference" in row["decided by"] and "p = " in row["decided by"]
    value = next(row for row in found if row["claim"].startswith("ResNet-110 reaches"))
    assert (value["paper"], value["ours"], value["difference"]) == ("6.61", "6.60±0.17", "-0.01")
    missing = next(row for row in found if row["claim"].startswith("ResNet-20 reaches"))
    assert missing["verdict"] == "-" and "`resrepro run cifar-resnet`" in missing["decided by"]


def test_every_shipped_claim_says_where_the_paper_makes_it() -> None:
    papers = [e for e in map(find_experiment, experiment_names()) if e.dataset in ("cifar10", "imagenet")]
    assert all(claim.source for e in papers for claim in e.claims)
