"""Nets made of shallower ones are drawn beside those trained from scratch."""

from __future__ import annotations

from pathlib import Path

from resrepro import results
from resrepro.figures.constructed import rows
from resrepro.figures.look import Look
from resrepro.results import csv_rows
from resrepro.results.records import ConstructedComparison
from support.drawings import draw, texts
from support.stored_runs import run_of, stored


def test_error_against_depth_as_made_trained_on_and_from_scratch(tmp_path: Path) -> None:
    shallow, deep, scratch = (
        run_of("plain8"),
        run_of("plain20", "plain20-made", start_from=run_of("plain8")),
        run_of("plain20"),
    )
    stored(tmp_path, shallow, final_train_error_clean_pct=9.0, final_test_error_pct=10.0)
    stored(tmp_path, scratch, final_train_error_clean_pct=19.0, final_test_error_pct=20.0)
    files = stored(tmp_path, deep, final_train_error_clean_pct=7.0, final_test_error_pct=8.0)
    common = {"num_images": 5, "largest_difference": 2e-6, "largest_output": 12.3}
    made = [
        ConstructedComparison(part=part, shallower_error_pct=error, error_pct=error, **common)
        for part, error in (("train", 9.0), ("test", 10.0))
    ]
    csv_rows.write_rows(files.identity, ConstructedComparison, made)
    figure = draw(tmp_path, "identity", [shallow, deep, scratch], ("plain8", "plain20-made", "plain20"))
    (axes,) = figure.axes
    found = {li.get_marker(): ([*li.get_xdata()], [*li.get_ydata()]) for li in axes.lines}
    assert found == {"o": ([8, 20], [9, 19]), "s": ([8, 20], [9, 9]), "^": ([20], [7])}
    assert "outputs differ by at most 2e-06 (fp32)\nfrom the shallower net's, which go up to 12.3" in texts(figure)
    states = ["trained from scratch", "made of the shallower net and identity layers", "made so, and trained on"]
    states = [f"{state} (one seed)" for state in states]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == states
    narrow = Look(width_inches=2.5)
    figure = draw(tmp_path, "identity", [shallow, deep, scratch], ("plain8", "plain20-made", "plain20"), look=narrow)
    figure.canvas.draw()
    (remark,) = (text for text in figure.axes[0].texts if "as made" in text.get_text())
    assert remark.get_window_extent().x1 < figure.bbox.x1
    files.record.unlink()
    figure = draw(tmp_path, "identity", [shallow, deep, scratch], ("plain8", "plain20-made", "plain20"))
    assert "not yet trained on: plain20-made" in texts(figure)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == states[:2]  # none that is not drawn


def test_the_test_error_is_the_one_that_other_figures_show_and_seeds_are_counted_by_run(tmp_path: Path) -> None:
    averaged = run_of("plain8").recipe.model_copy(update={"bn_average_batches": 10})
    shallow, deep = (run_of(arch).replace(recipe=averaged) for arch in ("plain8", "plain20"))
    errors = {"final_test_error_pct": 12.0, "final_test_error_bn_reestimated_pct": 10.0}
    for run in (shallow, shallow.replace(seed=1), deep):
        files = stored(tmp_path, run, **errors)
    (row,) = rows(files, deep, results.read_record(files))
    assert row["test_error_pct"] == 10.0
    figure = draw(tmp_path, "identity", [shallow, shallow.replace(seed=1), deep], ("plain8", "plain20"))
    (said,) = [text.get_text() for text in figure.legends[0].get_texts()]
    assert said == "trained from scratch (means of 1 to 2 seeds)"
