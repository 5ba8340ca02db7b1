"""The short form of the campaign: killed, and a full disk, at some operations; some power cuts; some mutations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from crash.breaking import Found, Undisturbed, at_operations, by_power_cut, spread, undisturbed
from crash.kinds import Place
from crash.mutations import by_mutation
from crash.server import compiler, serving

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C compiler, or not Linux")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("crash")
    with serving(folder) as server:
        yield Place(server=server, folder=folder / "plain", kind="plain")


@pytest.fixture(scope="module")
def peace(place: Place) -> Undisturbed:
    return undisturbed(place)


def assert_well(found: Iterable[Found]) -> list[str]:
    every = list(found)
    assert not [one for one in every if one.problem]
    return [one.ended for one in every]


def some(peace: Undisturbed, num: int) -> list[int]:
    """Evenly spread operations; their places move as the code does."""
    return [number + 5 for number in spread(peace.operations - 5, num)]


def test_killed_at_an_operation_the_same_command_ends_with_the_same_bits(place: Place, peace: Undisturbed) -> None:
    assert set(assert_well(at_operations(place, peace, "kill", some(peace, 4)))) == {"killed"}


def test_a_full_disk_is_one_line_and_the_same_command_goes_on(place: Place, peace: Undisturbed) -> None:
    assert set(assert_well(at_operations(place, peace, "full", some(peace, 3)))) == {"one line"}


def test_after_a_power_cut_the_same_command_ends_with_the_same_bits(place: Place, peace: Undisturbed) -> None:
    assert_well(by_power_cut(place, peace, strict=False, num_states=3))


def test_other_bytes_are_named_or_do_no_harm(place: Place, peace: Undisturbed) -> None:
    assert_well(by_mutation(place, peace, seed=1, num_mutations=4))
