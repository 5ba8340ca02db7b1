"""CIFAR-10's nets for torch.hub: `torch.hub.load(folder, "resnet20", source="local", pretrained=True)`."""

from __future__ import annotations

from collections.abc import Callable as _Callable
from pathlib import Path as _Path
from typing import TYPE_CHECKING

import resrepro as _resrepro
from resrepro.config.architectures import ARCHITECTURES as _ARCHITECTURES
from resrepro.config.toml_files import find_experiment as _find_experiment

if TYPE_CHECKING:
    from torch import nn

dependencies = ["torch", "torchvision", "numpy", "pandas", "PIL", "pydantic", "safetensors"]
_HOMES = ("cifar-plain", "cifar-resnet", "cifar-1202")
_RESULTS = _Path(__file__).parent / "results"


def _entry(arch: str) -> _Callable[..., nn.Module]:
    def net(*, pretrained: bool = False, seed: int | None = None) -> nn.Module:
        """Build a net as `resrepro.build_net` does; or load a trained one as `resrepro.load_net` does.

        Args:
            pretrained: takes the weights of `results/cifar10/<arch>/seed0`; where none are stored, of the first other
                run of this net over the paper's whole schedule that has some. `.run` says which run it is.
            seed: of the initial weights, where it is not pretrained.

        Raises:
            UserError: no weights of this net are stored.
        """
        return (
            _resrepro.load_net(_trained(arch), results_dir=_RESULTS)
            if pretrained
            else _resrepro.build_net(arch, seed=seed)
        )

    net.__name__ = net.__qualname__ = arch
    return net


def _trained(arch: str) -> str:
    runs = _resrepro.records(results_dir=_RESULTS)
    whole = (runs["dataset"] == "cifar10") & (runs["schedule_scale"] == 1) & (runs["status"] == "finished")
    names = sorted(runs["run"][whole & (runs["arch"] == arch) & runs["has_weights"]])
    own = f"cifar10/{arch}/seed0"
    if not names:
        homes = [name for name in _HOMES if any(run.name == arch for run in _find_experiment(name).runs)]
        advice = f"; 'resrepro run {homes[0]} --only {arch}' trains it" if homes else ""
        raise _resrepro.UserError(f"pretrained: no weights of {arch} are stored in {_RESULTS}{advice}")
    return own if own in names else names[0]


globals().update({name: _entry(name) for name, spec in _ARCHITECTURES.items() if spec.family == "cifar"})
