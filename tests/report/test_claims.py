"""The table of claims."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from resrepro.config.toml_files import experiment_names, find_experiment
from resrepro.paper import curves
from resrepro.report import claims
from resrepro.report.verdict import Status
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
    table = claims.table("T", judged, words, tmp_path)
    found = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    row = next(row for row in found if row["claim"].startswith("ResNet-110 has a lower test error"))
    assert row["paper"] == "ResNet-56: 6.97\nResNet-110: 6.61"
    assert row["ours"] == "ResNet-56: 7.00 (not counted: 7.20)\nResNet-110: 6.60±0.17"
    assert (row["difference"], row["n"], row["verdict"]) == ("+0.40 (+0.36)", "1, 3", "open")
    assert "95 % interval of the difference" in row["decided by"] and "p = " in row["decided by"]
    value = next(row for row in found if row["claim"].startswith("ResNet-110 has the paper's"))
    assert (value["paper"], value["ours"], value["difference"]) == ("6.61", "6.60±0.17", "-0.01")
    missing = next(row for row in found if row["claim"].startswith("ResNet-20 has the paper's"))
    assert (
        missing["verdict"] == "-" and f"`resrepro run cifar-resnet --results-dir {tmp_path}`" in missing["decided by"]
    )


def test_a_counted_net_that_the_experiment_does_not_run_has_its_label(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    run = 'title = "T"\ndataset = "shapes"\n[recipe]\npreset = "cifar"\n[[run]]\narch = "plain20"\n'
    claim = '[[claim]]\ntext = "deeper"\ncolumn = "multiply_adds_e9"\nhigher = "vgg16"\nlower = "resnet50"\n'
    mine.write_text(run + claim)
    judged = claims.verdicts([find_experiment(str(mine))], tmp_path)
    ((*_, ours, _, _, _),) = claims.table("T", judged, {"supported": "yes"}, tmp_path).rows
    assert ours == "VGG-16: 15.47\nResNet-50: 3.86"


def test_the_brief_table_of_many_claims_has_what_does_not_hold_and_counts_the_others(tmp_path: Path) -> None:
    judged = claims.verdicts([find_experiment("cifar-resnet")], tmp_path)
    experiment, verdict = next(one for one in judged if one[1].claim.is_order)
    statuses: list[Status] = [*["supported"] * claims.BRIEF_ROWS, "contradicted", "inconclusive"]
    values = dict.fromkeys(verdict.claim.runs, (7.0, 7.2))
    judged = [(experiment, replace(verdict, status=status, values=values)) for status in statuses]
    table = claims.brief_table(judged, {status: status for status in statuses})
    assert len(table.rows) == claims.BRIEF_ROWS
    assert [row[1] for row in table.rows[:3]] == ["contradicted", "inconclusive", "supported"]
    assert table.notes == ("more claims, shown by `resrepro report`: 2 supported",)
    few = claims.brief_table(judged[2:], {status: status for status in statuses})
    assert [row[1] for row in few.rows] == statuses[2:] and not few.notes
    further = replace(judged[0][1], further={verdict.claim.runs[0]: (7.5,)})
    with_further = claims.brief_table([(experiment, further)], {status: status for status in statuses})
    assert "(not counted: 7.50)" in with_further.rows[0][3] and with_further.notes == (claims.NOT_COUNTED,)


def test_every_shipped_claim_says_where_the_paper_makes_it() -> None:
    papers = [e for e in map(find_experiment, experiment_names()) if e.dataset in ("cifar10", "imagenet")]
    assert all(claim.source for e in papers for claim in e.claims)


def test_claims_of_our_own_are_marked(tmp_path: Path) -> None:
    every = claims.verdicts([find_experiment("bottleneck")], tmp_path)
    judged = [(experiment, verdict) for experiment, verdict in every if not verdict.claim.is_counted]
    assert {v.claim.ours for _, v in judged} == {True, False}
    table = claims.table("T", judged, {"not run": "-"}, tmp_path)
    marked = [claims.OURS in row[0] for row in table.rows]
    assert marked == [v.claim.ours for _, v in judged]


def test_the_degradation_is_judged_where_the_papers_own_curves_show_it() -> None:
    chain = next(c for c in find_experiment("cifar-plain").claims if c.between)
    plateau = []
    for name in chain.runs:
        curve = curves.published_curve("cifar10", name, "train")
        assert curve is not None
        plateau.append(curves.difference(curve, curve.iterations, curve.error_pct).windows[0].paper_pct)
    assert chain.window == "plateau" and plateau == sorted(plateau, reverse=True)
    assert chain.paper == ", ".join(f"{value:.1f}" for value in plateau)


def test_of_equal_claims_the_one_with_the_most_seeds_is_judged(tmp_path: Path) -> None:
    one, five = find_experiment("cifar-1202"), find_experiment("cifar-resnet")
    claim = next(c for c in five.claims if c.published and c.run == "resnet110")
    both = [experiment.model_copy(update={"claims": (claim,)}) for experiment in (one, five)]
    finish(tmp_path, "resnet110", [6.5, 6.6, 6.7])
    ((experiment, verdict),) = claims.verdicts(both, tmp_path)
    assert experiment.name == "cifar-resnet" and verdict.values == {"resnet110": (6.5, 6.6, 6.7)}
