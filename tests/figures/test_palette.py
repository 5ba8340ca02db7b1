"""The terminal's curves have the figures' colors, without loading what draws figures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from resrepro.cli import watch
from resrepro.figures.colors import LINE_COLORS


def test_watch_has_the_figures_colors_and_loads_no_matplotlib(tmp_path: Path) -> None:
    assert LINE_COLORS[:-1] == watch.COLORS and len(set(LINE_COLORS)) == len(LINE_COLORS)
    program = (
        f"import sys\nsys.argv = ['resrepro', 'watch', '--once', '--results-dir', {str(tmp_path)!r}]\n"
        "from resrepro.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "assert not {'matplotlib', 'pandas', 'scipy', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
