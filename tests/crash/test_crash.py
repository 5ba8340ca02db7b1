"""The short form of the campaign: a few kills, full disks, power cuts, and mutations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from crash.breaking import Found, Undisturbed, at_operations, by_power_cut, undisturbed
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


def numbers(peace: Undisturbed, what: str, *names: str) -> list[int]:
    """Return the numbers of the operations of this kind that write, or give its name to, a file of such a name."""
    return [
        number
        for number, operation in enumerate(peace.trace, 1)
        if operation.what == what and Path(operation.other or operation.path).name.startswith(names)
    ]


def test_killed_before_a_file_has_its_name_the_same_command_ends_with_the_same_bits(
    place: Place, peace: Undisturbed
) -> None:
    chosen = numbers(peace, "rename", "checkpoint.pt", "run.json")
    assert len(chosen) == 3
    after_the_record = chosen[-1] + 1  # where asked.json and the previous checkpoint once stayed for ever
    assert set(assert_well(at_operations(place, peace, "kill", [*chosen, after_the_record]))) == {"killed"}


def test_a_disk_that_is_full_in_the_middle_of_a_file_is_one_line(place: Place, peace: Undisturbed) -> None:
    chosen = [numbers(peace, "write", "curves.csv")[-1], numbers(peace, "write", "checkpoint.pt")[1]]
    assert set(assert_well(at_operations(place, peace, "full", chosen))) == {"one line"}


def test_after_a_power_cut_the_same_command_ends_with_the_same_bits(place: Place, peace: Undisturbed) -> None:
    assert_well(by_power_cut(place, peace, seed=0, num_states=3, strict=False))


def test_other_bytes_are_named_or_do_no_harm(place: Place, peace: Undisturbed) -> None:
    """The first of this seed is another digit in a CSV file of a finished run."""
    assert_well(by_mutation(place, peace, seed=609, num_mutations=3))
