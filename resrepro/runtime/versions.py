"""Tell which source and which libraries a number comes from."""

from __future__ import annotations

import functools
import platform
import subprocess
from pathlib import Path

import torch
import torchvision

import resrepro


def versions() -> dict[str, str]:
    """Return the versions of this package, Python, torch and torchvision."""
    return {
        "resrepro": resrepro.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
    }


@functools.cache  # the source that this process has read stays the same when the files change
def commit() -> str | None:
    """Return the commit of this source tree at the first call, with `+changes` if files differ from it.

    It is None where there is no git checkout.
    """
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        head = _git(root, "rev-parse", "HEAD")
        return f"{head}+changes" if _git(root, "status", "--porcelain", "--", "resrepro", "experiments") else head
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True).stdout.strip()
