"""The short form of the campaign: a run broken at each file operation; a few power cuts, and mutations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from crash.breaking import Found, Undisturbed, at_operations, by_power_cut, kills, undisturbed
from crash.kinds import Place
from crash.mutations import by_mutation
from crash.server import compiler, memory, serving

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C compiler, or not Linux")


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with memory() as folder, serving(Path(folder)) as server:
        yield Place(server=server, folder=Path(folder) / "plain", kind="plain")


@pytest.fixture(scope="module")
def peace(place: Place) -> Undisturbed:
    return undisturbed(place)


def assert_well(found: Iterable[Found]) -> list[str]:
    every = list(found)
    assert not [one for one in every if one.problem]
    return [one.ended for one in every]


@pytest.mark.parametrize(("mode", "ended"), [("kill", {"killed"}), ("full", {"one line", "finished"})])
def test_broken_at_each_file_operation_the_same_command_ends_with_the_same_bits(
    place: Place, peace: Undisturbed, mode: str, ended: set[str]
) -> None:
    """A full disk does not stop what needs no space, such as removing the lock's holder at the end."""
    every = kills(peace.trace) if mode == "kill" else range(1, len(peace.trace) + 1)
    assert set(assert_well(at_operations(place, peace, mode, every))) == ended


def test_after_a_power_cut_the_same_command_ends_with_the_same_bits(place: Place, peace: Undisturbed) -> None:
    assert len(assert_well(by_power_cut(place, peace, seed=0, num_states=3, strict=False))) == 3


def test_other_bytes_are_named_or_do_no_harm(place: Place, peace: Undisturbed) -> None:
    """The first of this seed is another digit in a CSV file of a finished run."""
    assert len(assert_well(by_mutation(place, peace, seed=609, num_mutations=3))) == 3
