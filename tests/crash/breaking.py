"""What goes wrong, and what must hold after it: each function yields what it found, once for each time."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from crash import power
from crash.kinds import Place, difference, wrong
from crash.server import Fault


@dataclass(frozen=True, kw_only=True)
class Found:
    """Says what went wrong, and what was wrong after it: nothing, if all is well.

    Args:
        ended: how the command ended that it happened to: `killed`, `one line`, `finished`.
    """

    what: str
    ended: str
    problem: str


@dataclass(frozen=True, kw_only=True)
class Undisturbed:
    """Holds what a run leaves to which nothing happens, its file operations, and its CPU time."""

    contents: dict[str, Any]
    trace: list[power.Operation]
    cpu_s: float


def undisturbed(place: Place) -> Undisturbed:
    """Train in peace, and remove the results."""
    place.folder.mkdir(parents=True, exist_ok=True)
    trace = place.folder / "trace"
    outcome = place.train(Fault(trace=str(trace)))
    assert outcome.code == 0 and not wrong(outcome), outcome.text
    contents = place.contents()
    place.empty()
    return Undisturbed(contents=contents, trace=power.read_trace(trace), cpu_s=outcome.cpu_s)


def at_operations(place: Place, peace: Undisturbed, mode: str, numbers: Iterable[int]) -> Iterator[Found]:
    """Let a file operation go wrong, then type the same command again: it must end with the same bits."""
    for number in numbers:
        yield _then_again(place, peace, _attempt(place, peace, Fault(mode=mode, at=number)))


def by_time(place: Place, peace: Undisturbed, seed: int, num_kills: int) -> Iterator[Found]:
    """Kill after CPU times drawn from a seed, up to four times in a row; then the same command must end as in peace."""
    draw, in_a_row = random.Random(f"{place.kind} {seed}"), 0
    for _ in range(num_kills):
        in_a_row = in_a_row or draw.randint(1, 4)
        found = _attempt(place, peace, Fault(cpu_s=draw.uniform(0.01, peace.cpu_s)))
        in_a_row -= 1
        yield found if in_a_row else _then_again(place, peace, found)


def by_power_cut(place: Place, peace: Undisturbed, *, strict: bool, num_states: int | None = None) -> Iterator[Found]:
    """Cut the power during a run; from each state of the disk that may follow, the same command must end as in peace.

    Args:
        strict: as `power.states`.
        num_states: so many of the states, evenly spread; None: all.
    """
    every = list(power.states(peace.trace, str(place.results), strict=strict))
    for number in spread(len(every), len(every) if num_states is None else num_states):
        power.write_state(every[number])
        found = Found(what=f"{place.kind}: power cut, state {number} of {len(every)}", ended="finished", problem="")
        yield _then_again(place, peace, found)


def spread(total: int, num: int) -> list[int]:
    """Return `num` numbers below `total`, evenly spread, or all of them."""
    return [k * total // num for k in range(num)] if num < total else list(range(total))


def _attempt(place: Place, peace: Undisturbed, fault: Fault) -> Found:
    outcome = place.train(fault)
    problem = wrong(outcome, signal.SIGPROF if fault.cpu_s else signal.SIGKILL)
    if not problem and outcome.code == 0:
        problem = difference(place.contents(), peace.contents)
    ended = {0: "finished", 1: "one line"}.get(outcome.code, "killed")
    return Found(what=f"{place.kind}: {fault}", ended=ended, problem=problem)


def _then_again(place: Place, peace: Undisturbed, found: Found) -> Found:
    """Type the command in peace, look at what it leaves, and remove that."""
    outcome = place.train()
    problem = wrong(outcome) or (outcome.text if outcome.code else difference(place.contents(), peace.contents))
    place.empty()
    return found if found.problem or not problem else replace(found, problem=f"the same command again: {problem}")
