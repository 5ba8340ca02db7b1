"""The numbers that stand in tables."""

from __future__ import annotations

from resrepro.results.tables import mean_std


def test_a_mean_and_its_standard_deviation_have_the_same_digits() -> None:
    assert mean_std([8.4, 8.6]) == "8.50±0.14" and mean_std([8.5]) == "8.50"
    assert mean_std([0.101, 0.105], digits=3) == "0.103±0.003" and mean_std([0.1], digits=3) == "0.100"
