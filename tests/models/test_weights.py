from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from resrepro.errors import UserError
from resrepro.models import build
from resrepro.models.weights import read_net, save_weights


def renamed(state: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    return {k.replace(old, new): v for k, v in state.items()}


FORMS = {
    "bare": lambda s: s,
    "wrapped": lambda s: {"state_dict": s, "best_prec1": 91.7},
    "module.": lambda s: {f"module.{k}": v for k, v in s.items()},
    "linear": lambda s: renamed(s, "fc.", "linear."),
    "all of it": lambda s: {"state_dict": {f"module.{k}": v for k, v in renamed(s, "fc.", "linear.").items()}},
    "without num_batches_tracked": lambda s: {k: v for k, v in s.items() if "num_batches" not in k},
}


@pytest.mark.parametrize("form", FORMS)
def test_foreign_state_dicts_load(form: str, tmp_path: Path) -> None:
    theirs = build("resnet8", num_classes=10, seed=1)
    torch.save(FORMS[form](theirs.state_dict()), tmp_path / "w.pt")
    ours = read_net(tmp_path / "w.pt", "resnet8", 10)
    assert all(torch.equal(p, q) for p, q in zip(theirs.parameters(), ours.parameters(), strict=True))


def test_layers_with_other_names_load_in_order(tmp_path: Path) -> None:
    theirs = build("plain8", num_classes=10, seed=1)
    state = {f"net_{k}".replace("fc", "out"): v for k, v in theirs.state_dict().items()}
    file = tmp_path / "w.pt"
    torch.save(state, file)
    with pytest.raises(UserError, match=r"lacks 'conv1.weight' of plain8; .*, or .* called otherwise \(--in-order\)"):
        read_net(file, "plain8")
    ours = read_net(file, "plain8", in_order=True)
    assert all(torch.equal(p, q) for p, q in zip(theirs.parameters(), ours.parameters(), strict=True))
    with pytest.raises(UserError, match="37 tensors, but plain14 has 67; is it another --arch"):
        read_net(file, "plain14", 10, in_order=True)
    with pytest.raises(UserError, match=r"'net_out.weight' \(10, 64\) comes where plain8 has 'fc.weight' \(5, 64\)"):
        read_net(file, "plain8", 5, in_order=True)
    keys = list(state)
    swapped = [keys[0], keys[2], keys[1], *keys[3:]]  # BN's bias before its weight, of the same shape
    torch.save({key: state[key] for key in swapped}, file)
    with pytest.raises(UserError, match=r"'net_bn1.bias' \(16,\) comes where plain8 has 'bn1.weight'"):
        read_net(file, "plain8", in_order=True)


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("code ran",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"epoch": 3}, "holds no state dict"),
        ([1, 2], "holds no state dict"),
        ({"state_dict": {"x": torch.ones(1)}}, "lacks 'conv1.weight' of resnet8; is it another --arch"),
        (Evil(), r"holds code \(print\); refused"),
    ],
)
def test_other_content_is_refused(
    content: object, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(UserError, match=message) as caught:
        read_net(tmp_path / "w.pt", "resnet8")
    assert "\n" not in str(caught.value)
    assert "code ran" not in capsys.readouterr().out


def test_damaged_absent_and_other_nets_are_refused(tmp_path: Path) -> None:
    net = build("resnet8", num_classes=10)
    file = tmp_path / "w.pt"
    with pytest.raises(UserError, match="no such file"):
        read_net(file, "resnet8", 10)
    torch.save(net.state_dict(), file)
    whole = file.read_bytes()
    for damaged in (whole[:500], b"", b"text"):
        file.write_bytes(damaged)
        with pytest.raises(UserError, match="damaged"):
            read_net(file, "resnet8", 10)
    torch.save(build("resnet14", num_classes=10).state_dict(), file)
    with pytest.raises(UserError, match="is not in resnet8"):
        read_net(file, "resnet8", 10)
    torch.save(build("resnet8", num_classes=100).state_dict(), file)
    with pytest.raises(UserError, match="--arch or --dataset"):
        read_net(file, "resnet8", 10)


def test_reading_draws_nothing_from_torchs_random_state(tmp_path: Path) -> None:
    """Other threads may be initializing a net at this moment."""
    net = build("resnet8", num_classes=10, seed=0)
    save_weights(tmp_path / "w.safetensors", net, {})
    before = torch.get_rng_state()
    again = read_net(tmp_path / "w.safetensors", "resnet8")
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in net.state_dict().items())
    assert all(p.requires_grad and p.dtype == torch.float32 for p in again.parameters())
