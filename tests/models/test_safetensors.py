"""Weights as safetensors files: written whole, read back to the bit, refused in one line."""

from __future__ import annotations

import os
import pickle
import struct
from pathlib import Path

import pytest
import safetensors.torch
import torch

from resrepro.errors import UserError
from resrepro.models import build
from resrepro.models.weights import read_metadata, read_net, save_weights


@pytest.fixture
def file(tmp_path: Path) -> Path:
    net = build("resnet8", num_classes=10, seed=1).to(memory_format=torch.channels_last)
    save_weights(tmp_path / "weights.safetensors", net, {"run": "cifar10/resnet8/seed1"})
    return tmp_path / "weights.safetensors"


def test_weights_come_back_to_the_bit(file: Path) -> None:
    ours, theirs = (build("resnet8", num_classes=10, seed=seed).state_dict() for seed in (1, 2))
    assert not torch.equal(ours["conv1.weight"], theirs["conv1.weight"])
    net = read_net(file, "resnet8")
    assert all(torch.equal(value, ours[key]) for key, value in net.state_dict().items())
    stored = safetensors.torch.load_file(file)
    assert stored.keys() == ours.keys() and stored["conv1.weight"].dtype == torch.float32
    assert read_metadata(file) == {"run": "cifar10/resnet8/seed1"}
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_the_same_weights_are_the_same_bytes(file: Path) -> None:
    """The library writes metadata in a random order."""
    net, about = build("plain8", num_classes=10, seed=0), {name: name for name in "abcdefgh"}
    contents = set()
    for _ in range(3):
        save_weights(file, net, about)
        contents.add(file.read_bytes())
    assert len(contents) == 1 and read_metadata(file) == about
    save_weights(file, net, {})
    assert read_metadata(file) == {}


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return print, ("code ran",)


HEADER = b'{"conv1.weight":{"dtype":"F32","shape":[16,3,3,3],"data_offsets":[0,1728]}}'
DAMAGED = {
    "empty": lambda whole: b"",
    "cut in the header": lambda whole: whole[:100],
    "cut in the weights": lambda whole: whole[:-1],
    "longer": lambda whole: whole + b"x",
    "text": lambda whole: b"text, and more than eight bytes of it",
    "pickle": lambda whole: pickle.dumps(Evil()),
    "a header of 9 exabytes": lambda whole: struct.pack("<Q", 2**63 - 1) + whole[8:],
    "weights that overlap the end": lambda whole: struct.pack("<Q", len(HEADER)) + HEADER + bytes(100),
    "no JSON": lambda whole: struct.pack("<Q", 4) + b"\xff\xfe{}" + bytes(8),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_or_hostile_file_is_one_line(kind: str, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_bytes(DAMAGED[kind](file.read_bytes()))
    for read in (lambda: read_net(file, "resnet8"), lambda: read_metadata(file)):
        with pytest.raises(UserError, match="damaged, or not a safetensors file") as caught:
            read()
        assert str(caught.value).startswith(f"{file}: ") and "\n" not in str(caught.value)
    assert "code ran" not in capsys.readouterr().out


def test_absent_files_folders_and_other_nets_are_one_line(file: Path) -> None:
    with pytest.raises(UserError, match="is not in resnet8"):
        save_weights(file, build("resnet14", num_classes=10), {})
        read_net(file, "resnet8", 10)
    with pytest.raises(UserError, match=r"'fc.weight' is \(100, 64\), resnet8 has \(10, 64\)"):
        save_weights(file, build("resnet8", num_classes=100), {})
        read_net(file, "resnet8", 10)
    safetensors.torch.save_file({"theirs": torch.ones(1)}, file)
    assert read_metadata(file) == {}
    with pytest.raises(UserError, match=r"lacks 'conv1\.weight' of resnet8"):
        read_net(file, "resnet8", 10)
    file.unlink()
    with pytest.raises(UserError, match="no such file; expected a safetensors file"):
        read_net(file, "resnet8", 10)
    file.mkdir()
    with pytest.raises(UserError, match=f"{file.name}: "):
        read_net(file, "resnet8", 10)


def test_a_name_that_the_library_cannot_open_is_said(file: Path) -> None:
    odd = file.rename(file.with_name(os.fsdecode(b"\xff.safetensors")))
    for read in (
        lambda: read_net(odd, "resnet8"),
        lambda: read_metadata(odd),
    ):
        with pytest.raises(UserError, match=r"\\udcff.safetensors: safetensors opens names in UTF-8 only"):
            read()
