"""Build the CPU kernels, which are written in C++, once on each machine."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import shutil
import subprocess
from pathlib import Path

import torch

from resrepro.errors import first_line
from resrepro.files import own_temporary

SOURCES = tuple(Path(__file__).parent / name for name in ("bn_relu.cpp", "conv3x3.cpp", "winograd.cpp"))
FLAGS = ("-std=c++20", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fopenmp", "-fPIC", "-shared")


def load() -> str | None:
    """Load the kernels as `torch.ops.resrepro`, and build them first if there is no library for this machine yet.

    Returns:
        None, or the reason why they cannot be used.
    """
    try:
        torch.ops.load_library(_build())  # type: ignore[no-untyped-call]
    except subprocess.CalledProcessError as error:
        return f"the C++ compiler failed ({first_line(error.stderr)})"
    except (OSError, RuntimeError) as error:  # RuntimeError: no home folder, or a library that does not load
        return first_line(error)
    return None


def _build() -> Path:
    """Return the library for these sources, torch, compiler and machine; compile it if it is not there yet.

    Raises:
        OSError: no compiler, or no place to write.
        CalledProcessError: the sources do not compile.
    """
    compiler = shutil.which("g++")
    if compiler is None:
        raise FileNotFoundError("there is no g++ on this machine")
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout
    texts = [source.read_text() for source in SOURCES]
    key = "\n".join((*texts, torch.__version__, version, *FLAGS, platform.machine(), cpu_flags()))
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "resrepro"
    library = cache / f"native-{hashlib.sha256(key.encode()).hexdigest()[:16]}.so"
    if not library.exists():
        cache.mkdir(parents=True, exist_ok=True)
        torch_folder = Path(torch.__file__).parent
        building = own_temporary(library)  # several processes may build at once, and machines share a home folder
        include = torch_folder / "include"
        places = (f"-I{include}", f"-I{include / 'torch/csrc/api/include'}", f"-L{torch_folder / 'lib'}")
        words = [compiler, *FLAGS, "-x", "c++", "-", *places, "-ltorch_cpu", "-lc10", "-o", str(building)]
        whole = "".join(f'#include "{source}"\n' for source in SOURCES)  # torch's headers are read once
        # A session of its own: Ctrl-C spares it.
        subprocess.run(words, input=whole, capture_output=True, text=True, check=True, start_new_session=True)
        with building.open("rb") as file:  # a power cut would leave an empty library, which is never built again
            os.fsync(file.fileno())
        building.replace(library)
    return library


@functools.cache
def cpu_flags() -> str:
    """Return the CPU's features, on which -march=native depends, as /proc/cpuinfo writes them."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")
