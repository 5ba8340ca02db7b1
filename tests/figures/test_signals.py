"""The columns of the figure of signals stand at the same iterations in every panel."""

from __future__ import annotations

import numpy as np
import pytest

from resrepro.figures import signals


@pytest.mark.parametrize("num_points", [2, 3])
def test_a_net_in_progress_has_its_first_columns_where_a_finished_one_has_them(num_points: int) -> None:
    whole, begun = (signals._edges(100.0 * np.arange(count)) for count in (8, num_points))
    assert begun[:num_points] == pytest.approx(whole[:num_points])
