"""BN, the shortcut's addition, ReLU: in torch's operations, or in one fused kernel on the CPU.

The kernel is C++ (`native/bn_relu.cpp`), built once on the machine it runs on, and used in training mode only. It reads
and writes each activation a third as often as separate operations do; `resrepro bench` measures what that gives.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SOURCE = Path(__file__).parent / "native" / "bn_relu.cpp"
LINE = 64  # elements; the kernel's unit of work
FLAGS = ("-std=c++20", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fopenmp", "-fPIC", "-shared")

_fused = False


def bn_relu(bn: nn.BatchNorm2d, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
    """relu(bn(x)), or relu(bn(x) + shortcut): (N, C, H, W) each."""
    if _fused and bn.training and _fits(x, shortcut):
        return _bn_relu_fused(bn, x, shortcut)
    y = bn(x)  # needed by nothing else, so what follows works in place
    return F.relu_(y if shortcut is None else y.add_(shortcut))


def enable_fused() -> str:
    """Builds the kernel, or loads what was built before, for all nets of this process.

    Returns:
        Empty, or why separate operations are used instead.
    """
    global _fused
    if not _fused:
        try:
            torch.ops.load_library(_build())  # type: ignore[no-untyped-call]
        except subprocess.CalledProcessError as error:
            return f"the C++ compiler failed ({(error.stderr.strip().splitlines() or ['no message'])[0][:120]})"
        except (OSError, RuntimeError) as error:  # RuntimeError: no home folder, or a library that does not load
            return str(error).splitlines()[0]
        _fused = True
    return ""


def _fits(x: Tensor, shortcut: Tensor | None) -> bool:
    channels = x.shape[1]
    return (
        x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.bfloat16)
        and (LINE % channels == 0 or channels % LINE == 0)
        and x.numel() % LINE == 0
        and x.is_contiguous(memory_format=torch.channels_last)
        and (shortcut is None or (shortcut.dtype == x.dtype and shortcut.shape == x.shape))
    )


def _bn_relu_fused(bn: nn.BatchNorm2d, x: Tensor, shortcut: Tensor | None) -> Tensor:
    momentum = bn.momentum
    if bn.num_batches_tracked is not None:
        bn.num_batches_tracked.add_(1)
        momentum = 1 / int(bn.num_batches_tracked) if momentum is None else momentum  # None: plain average
    y: Tensor = torch.ops.resrepro.bn_relu(
        x, bn.weight, bn.bias, shortcut, bn.running_mean, bn.running_var, momentum, bn.eps
    )
    return y


def _build() -> Path:
    """The library for this source, torch, compiler and machine; compiled if it is not there yet.

    Raises:
        OSError: no compiler, or no place to write. CalledProcessError: it does not compile.
    """
    compiler = shutil.which("g++")
    if compiler is None:
        raise FileNotFoundError("there is no g++ on this machine")
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout
    key = "\n".join((SOURCE.read_text(), torch.__version__, version, *FLAGS, platform.machine(), _cpu_flags()))
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "resrepro"
    library = cache / f"bn_relu-{hashlib.sha256(key.encode()).hexdigest()[:16]}.so"
    if not library.exists():
        cache.mkdir(parents=True, exist_ok=True)
        torch_folder = Path(torch.__file__).parent
        building = library.with_suffix(f".{os.getpid()}.tmp")  # several processes may build at once
        include = torch_folder / "include"
        places = (f"-I{include}", f"-I{include / 'torch/csrc/api/include'}", f"-L{torch_folder / 'lib'}")
        words = [compiler, *FLAGS, str(SOURCE), *places, "-ltorch_cpu", "-lc10", "-o", str(building)]
        subprocess.run(words, capture_output=True, text=True, check=True, start_new_session=True)  # spared by Ctrl-C
        building.replace(library)
    return library


def _cpu_flags() -> str:
    """What -march=native depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")
