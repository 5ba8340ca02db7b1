"""Nets of other code: `arch = "my_package.my_module:MyNet"` names a callable (num_classes) -> nn.Module."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import sysconfig
from collections.abc import Callable
from modulefinder import ModuleFinder
from pathlib import Path

import torch
from torch import nn

from resrepro.config.architectures import architecture
from resrepro.config.run import Run
from resrepro.errors import UserError, did_you_mean, first_line

ELSEWHERE = ["resrepro", "torch", "torchvision"]  # packages whose commit or version a record has anyway


def build_own(arch: str, *, num_classes: int) -> nn.Module:
    """Import and call what `arch` names; the net initializes itself.

    Modules are found as Python finds them, and in the current directory.

    Raises:
        UserError: it cannot be imported, is not there or not callable, fails, or returns no module.
    """
    _, _, name = arch.partition(":")
    make = _found(arch)
    try:
        net = make(num_classes=num_classes)
    except Exception as error:
        raise UserError(f"{arch}: {name}(num_classes={num_classes}) failed: {_short(error)}") from error
    if not isinstance(net, nn.Module):
        raise UserError(f"{arch}: expected a net (torch.nn.Module), got {type(net).__name__}")
    return net


def check_output(net: nn.Module, arch: str, *, num_classes: int, image_size: tuple[int, int]) -> None:
    """Check that the net makes (N, num_classes) of (N, 3, height, width), in training and in inference mode.

    Raises:
        UserError: it fails, or returns something else.
    """
    images = torch.zeros(2, 3, *image_size)
    for training in (True, False):
        try:
            with torch.no_grad():
                found = net.train(training)(images)
        except Exception as error:
            raise UserError(f"{arch}: fails on images of {tuple(images.shape)}: {_short(error)}") from error
        got = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
        if got != (2, num_classes):
            mode = "training" if training else "inference"
            raise UserError(
                f"{arch}: gives {got} for images of {tuple(images.shape)} in {mode} mode, expected (2, {num_classes})"
            )


def with_source(run: Run) -> Run:
    """Return the run with the SHA-256 of its source, if its net is one of other code.

    Raises:
        UserError: there is no such module, or it cannot be read.
    """
    if not architecture(run.arch).own:
        return run
    return run.model_copy(update={"arch_sha256": source_sha256(run.arch)})


def check_source(run: Run) -> None:
    """Check that the source of a net of other code is the one that the run was trained with.

    Raises:
        UserError: it has changed since, or cannot be read.
    """
    now = with_source(run).arch_sha256
    if now != run.arch_sha256:
        there, here = (None if digest is None else digest[:12] for digest in (run.arch_sha256, now))
        raise UserError(
            f"{run}: the source of {run.arch} has changed since training (SHA-256 {there} then, {here} now); "
            "have it as it was"
        )


def source_sha256(arch: str) -> str:
    """Return a SHA-256 of the file of the module that `arch` names, and of all that it imports, directly or not.

    Installed packages do not count, unless the module is in one: then its file alone does. Nothing is imported but the
    packages that the module is in.

    Raises:
        UserError: there is no such module, or it cannot be read.
    """
    module, _, _ = arch.partition(":")
    _see_current_directory()
    finder = ModuleFinder(path=[place for place in sys.path if not _installed(place)], excludes=ELSEWHERE)
    try:
        spec = importlib.util.find_spec(module)
        if spec is None or spec.origin is None:
            raise _no_module(arch, module)
        files = {module: spec.origin}
        if not _installed(spec.origin):
            finder.import_hook(module)
            found = {name: getattr(part, "__file__", None) for name, part in finder.modules.items()}
            files |= {name: file for name, file in found.items() if file}
        parts = [f"{name} {hashlib.sha256(Path(file).read_bytes()).hexdigest()}" for name, file in files.items()]
    except ModuleNotFoundError as error:
        raise _no_module(arch, error.name or module) from error
    except UserError:
        raise
    except Exception as error:  # whatever a package does as it is imported
        raise UserError(f"{arch}: {module} cannot be imported: {_short(error)}") from error
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()


def _found(arch: str) -> Callable[..., object]:
    module_name, _, name = arch.partition(":")
    _see_current_directory()
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise _no_module(arch, error.name or module_name) from error
    except Exception as error:
        raise UserError(f"{arch}: {module_name} cannot be imported: {_short(error)}") from error
    if not hasattr(module, name):
        names = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise UserError(f"{arch}: {module_name} has no '{name}'{did_you_mean(name, names)}")
    make = getattr(module, name)
    if not callable(make):
        raise UserError(f"{arch}: expected a callable (num_classes) that returns a net, got {type(make).__name__}")
    return make  # type: ignore[no-any-return]


def _see_current_directory() -> None:
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)


def _installed(place: str) -> bool:
    libraries = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return any(Path(place or ".").resolve().is_relative_to(Path(library).resolve()) for library in libraries)


def _no_module(arch: str, name: str) -> UserError:
    return UserError(f"{arch}: no module '{name}'; expected one in {Path.cwd()}, on PYTHONPATH or installed")


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {first_line(error)}"
