"""Load weights into our nets, from our checkpoints and from other people's files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from resrepro.config.architectures import architecture
from resrepro.errors import UserError
from resrepro.files import write_bytes
from resrepro.models import build
from resrepro.models.saved import one_line, read_saved

CHECKPOINT_FORMAT = "resrepro checkpoint 2"
SUFFIX = ".safetensors"


def read_net(path: Path, arch: str, num_classes: int | None = None, *, in_order: bool = False) -> nn.Module:
    """Build `arch`, and load a file of weights.

    The file is a checkpoint of ours, or a state dict: bare or under `state_dict`, its keys with or without `module.`,
    the final layer called `fc` or `linear`. A file named .safetensors holds a bare one.

    Args:
        num_classes: of the net; None: as many as the file's layer `fc` has; with `in_order`, its last tensor.
        in_order: whether its tensors are taken in their order, whatever their layers are called.

    Raises:
        UserError: the file cannot be read, or holds no weights, or those of another architecture; names the first key
            that does not fit.
    """
    return net_of(_read(path), path, arch, num_classes, in_order=in_order)


def net_of(saved: Any, path: Path, arch: str, num_classes: int | None = None, *, in_order: bool = False) -> nn.Module:
    """Build `arch`, and load what `read_saved` returned; `path` is only named in errors.

    Raises:
        UserError: as `read_net`.
    """
    if num_classes is None:
        state = _unwrap(saved)
        keys = {_our_key(str(key)): key for key in state} if isinstance(state, dict) else {}
        key = list(keys.values())[-1] if in_order and keys else keys.get("fc.bias")
        bias = None if key is None else state[key]
        num_classes = len(bias) if isinstance(bias, Tensor) and bias.ndim else 1
    # On the meta device nothing is drawn from torch's random state, which other threads use.
    with nullcontext() if architecture(arch).own else torch.device("meta"):
        net = build(arch, num_classes=num_classes)
    _load_saved(net, saved, path, arch, in_order=in_order)
    return net


def _load_saved(net: nn.Module, saved: Any, path: Path, arch: str, *, in_order: bool) -> None:
    """Load what `read_saved` returned, as `read_net` does; `path` is only named in errors.

    Raises:
        UserError: as `read_net`.
    """
    found = _unwrap(saved)
    if not isinstance(found, dict) or not all(isinstance(v, Tensor) for v in found.values()) or not found:
        raise UserError(f"{path}: holds no state dict; expected one saved bare or under 'state_dict'")
    own = net.state_dict()
    if in_order:
        found = _renamed(found, own, path, arch)
    state = {str(k) if k in own else _our_key(str(k)): v for k, v in found.items()}
    for key, value in own.items():
        if key not in state and key.endswith("num_batches_tracked"):
            state[key] = torch.zeros_like(value, device="cpu")  # older files lack it; inference does not use it
        if key not in state:
            other_names = "" if set(state) & set(own) else ", or are its layers called otherwise (--in-order)"
            raise UserError(f"{path}: lacks '{key}' of {arch}; is it another --arch{other_names}?")
        if state[key].shape != value.shape:
            raise UserError(
                f"{path}: '{key}' is {tuple(state[key].shape)}, {arch} has {tuple(value.shape)}; is it another "
                "--arch or --dataset?"
            )
        if not state[key].isfinite().all():
            raise UserError(
                f"{path}: '{key}' holds values that are not finite; the net diverged, or the file is damaged"
            )
    extra = sorted(set(state) - set(own))
    if extra:
        raise UserError(f"{path}: '{extra[0]}' is not in {arch} ({len(extra)} such keys); is it another --arch?")
    net.load_state_dict({key: state[key].to(value.dtype, copy=True) for key, value in own.items()}, assign=True)


def _unwrap(found: Any) -> Any:
    """Return the state dict in a checkpoint of ours, or under `state_dict`; anything else as it is."""
    if isinstance(found, dict) and found.get("format") == CHECKPOINT_FORMAT:
        return found["engine"]["model"]
    return found["state_dict"] if isinstance(found, dict) and "state_dict" in found else found


def _renamed(found: dict[Any, Tensor], own: dict[str, Tensor], path: Path, arch: str) -> dict[str, Tensor]:
    """Return the tensors under the names that those of the net have which come at the same place.

    Raises:
        UserError: their number, their kinds (weight, bias, running_mean, ...) or their shapes are not the net's.
    """
    theirs = [str(key) for key in found if not str(key).endswith("num_batches_tracked")]
    ours = [key for key in own if not key.endswith("num_batches_tracked")]
    if len(theirs) != len(ours):
        raise UserError(f"{path}: {len(theirs)} tensors, but {arch} has {len(ours)}; is it another --arch?")
    for their, our in zip(theirs, ours, strict=True):
        kinds = their.rpartition(".")[2], our.rpartition(".")[2]
        if kinds[0] != kinds[1] or found[their].shape != own[our].shape:
            raise UserError(
                f"{path}: '{their}' {tuple(found[their].shape)} comes where {arch} has '{our}' "
                f"{tuple(own[our].shape)}, so it is not in the same order; is it another --arch or --dataset?"
            )
    return {our: found[their] for their, our in zip(theirs, ours, strict=True)}


def _our_key(key: str) -> str:
    key = key.removeprefix("module.")
    return f"fc.{key.removeprefix('linear.')}" if key.startswith("linear.") else key


def save_weights(path: Path, net: nn.Module, metadata: Mapping[str, str]) -> None:
    """Write the net's state dict (fp32) with `metadata` as a safetensors file, atomically; the same, in the same bytes.

    Raises:
        UserError: it cannot be written.
    """
    write_bytes(path, to_safetensors(net, metadata))


def to_safetensors(net: nn.Module, metadata: Mapping[str, str]) -> bytes:
    """Return the net's state dict (fp32) with `metadata` as the content of a safetensors file."""
    state = {name: value.detach().cpu().contiguous() for name, value in net.state_dict().items()}
    return _in_order(safetensors.torch.save(state, dict(metadata)))


def _in_order(content: bytes) -> bytes:
    """Return a safetensors file with its metadata in the order of their names; the library's order is a random one.

    The format: the header's length (8 bytes, little-endian), the header as JSON, padded with spaces, and the tensors.
    """
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[end:]


def read_metadata(path: Path) -> dict[str, str]:
    """Return what `save_weights` wrote beside the weights; nothing if another program wrote the file.

    Raises:
        UserError: absent, not to be read, or damaged.
    """
    with one_line(path, "a safetensors file"), safetensors.safe_open(_utf8(path), framework="pt") as file:
        return dict(file.metadata() or {})


def _read(path: Path) -> Any:
    if path.suffix != SUFFIX:
        return read_saved(path)
    with one_line(path, "a safetensors file"), safetensors.safe_open(_utf8(path), framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)


def _utf8(path: Path) -> Path:
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{path}: safetensors opens names in UTF-8 only; rename the file, or the folder") from error
    return path
