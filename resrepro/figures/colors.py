"""Choose a color for each run: the same one in all figures of an experiment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from resrepro.config.architectures import Architecture, architecture
from resrepro.config.experiment import Experiment
from resrepro.figures.declared import declaration
from resrepro.figures.palette import COLORS

LINE_COLORS = (*COLORS, "#000000")  # black is seen on the figures' white ground
DEPTHS = ((20, 32, 44, 56, 110, 1202), (18, 34, 50, 101, 152))  # the paper's
TELL_PLAIN_BY_LINE = ("distance", "lesions", "responses")  # kinds of figures with one legend for all panels


def depth_colors(depths: Iterable[int]) -> dict[int, str]:
    """Choose a color for each depth; the paper's depths have the same ones in every figure."""
    shown = sorted(set(depths))
    order = next((family for family in DEPTHS if set(shown) <= set(family)), tuple(shown))
    return {depth: LINE_COLORS[order.index(depth) % len(LINE_COLORS)] for depth in shown}


def distinct_colors(depths: Mapping[str, int], together: Iterable[Iterable[str]]) -> dict[str, str]:
    """Choose a color for each run: that of its depth; where a run beside it has that one, the least used of the rest.

    Args:
        depths: of the runs by name; those that come first choose first; 0: not known.
        together: names of runs that only their colors tell apart.
    """
    of_depth = depth_colors(depth for depth in depths.values() if depth)
    depths_own = {*of_depth.values()}
    beside: dict[str, set[str]] = {name: set() for name in depths}
    for names in map(set, together):
        for name in names & depths.keys():
            beside[name] |= names & depths.keys() - {name}
    colors: dict[str, str] = {}
    for name, depth in depths.items():
        taken = [colors[other] for other in beside[name] if other in colors]
        if depth and of_depth[depth] not in taken:
            colors[name] = of_depth[depth]
        else:
            colors[name] = min(LINE_COLORS, key=lambda color: (taken.count(color), color in depths_own))
    return colors


def is_residual(net: Architecture) -> bool:
    """Tell whether a net has shortcuts; of nets of other code this is taken for granted."""
    return net.residual or bool(net.own)


def run_colors(experiment: Experiment, results_dir: Path) -> dict[str, str]:
    """Choose a color for each run of an experiment's figures that is stored."""
    names = dict.fromkeys(name for spec in experiment.figures for name in spec.run_names)
    runs = {name: declaration(experiment, name, results_dir)[1][0] for name in names}
    stored = {name: run for name, run in runs.items() if (results_dir / run.path).parent.is_dir()}
    nets = {name: architecture(run.arch) for name, run in stored.items()}
    together: list[list[str]] = []
    for spec in experiment.figures:
        if spec.kind in TELL_PLAIN_BY_LINE:
            shown = [name for name in spec.run_names if name in nets]
            together += [[name for name in shown if is_residual(nets[name]) is kind] for kind in (False, True)]
        else:
            together += [list(panel.runs) for panel in spec.panel]
    return distinct_colors({name: net.depth for name, net in nets.items()}, together)
