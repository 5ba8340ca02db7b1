"""What goes wrong, and what must hold after it: each function yields what it found, once for each time."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from crash import power
from crash.kinds import Place, difference, wrong
from crash.server import Fault

T = TypeVar("T")


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
    """Holds what a command leaves to which nothing happens, its file operations, and its CPU time."""

    contents: dict[str, Any]
    trace: list[power.Operation]
    cpu_s: float


def undisturbed(place: Place) -> Undisturbed:
    """Type the command twice in peace, each time from the start: it leaves the same."""
    trace = place.folder / "trace"
    found = []
    for fault in (None, Fault(trace=str(trace))):
        place.reset()
        outcome = place.again(fault)
        assert outcome.code == 0 and not wrong(outcome), outcome.text
        found.append(place.contents())
    place.reset()
    contents = found[1]
    assert found[0] == contents, difference(*found)
    return Undisturbed(contents=contents, trace=power.read_trace(trace), cpu_s=outcome.cpu_s)


def kills(trace: Sequence[power.Operation]) -> list[int]:
    """Return the numbers of the operations, from 1, before which a kill leaves other files than a kill before."""
    numbers, used = [1], set[str]()  # folders in which there are files
    for number, done in enumerate(trace[:-1], 2):
        is_there = done.what == "mkdir" and done.path in used
        used |= {done.path.rpartition("/")[0]} if done.what != "mkdir" else set()
        numbers += [] if is_there or done.what == "fsync" else [number]
    return numbers


def at_operations(place: Place, peace: Undisturbed, mode: str, numbers: Iterable[int]) -> Iterator[Found]:
    """Let a file operation go wrong, then type the same command again: it must end with the same bits."""
    for number in numbers:
        yield _then_again(place, peace, _attempt(place, peace, Fault(mode=mode, at=number)))


def by_time(place: Place, peace: Undisturbed, seed: int, num_kills: int) -> Iterator[Found]:
    """Kill after CPU times drawn from a seed, up to eight times in a row; then the command must end as in peace."""
    draw, in_a_row, killed = random.Random(f"{place.kind} {seed}"), 0, 0
    for _ in range(10 * num_kills):  # some end before their time
        in_a_row = in_a_row or draw.randint(1, 8)
        found = _attempt(place, peace, Fault(cpu_s=draw.uniform(0.01, peace.cpu_s)))
        in_a_row = in_a_row - 1 if found.ended == "killed" else 0
        yield found if in_a_row else _then_again(place, peace, found)
        killed += found.ended == "killed"
        if killed == num_kills:
            break
    place.reset()


def by_power_cut(place: Place, peace: Undisturbed, seed: int, num_states: int, *, strict: bool) -> Iterator[Found]:
    """Cut the power during a command; from states of the disk that may follow, the same command must end as in peace.

    Args:
        strict: as `power.states`.
    """
    every = list(enumerate(power.states(peace.trace, str(place.results), strict=strict)))
    for number, state in drawn(every, seed, num_states):
        power.write_state(state)
        found = Found(what=f"{place.kind}: power cut, state {number} of {len(every)}", ended="finished", problem="")
        yield _then_again(place, peace, found)


def drawn(every: Sequence[T], seed: int, count: int) -> Sequence[T]:
    """Return so many of a list, drawn from a seed and in their order; or all of them."""
    chosen = random.Random(seed).sample(range(len(every)), count) if count < len(every) else range(len(every))
    return [every[k] for k in sorted(chosen)]


def _attempt(place: Place, peace: Undisturbed, fault: Fault) -> Found:
    outcome = place.again(fault)
    problem = wrong(outcome, signal.SIGPROF if fault.cpu_s else signal.SIGKILL)
    if not problem and outcome.code == 0:
        problem = difference(place.contents(), peace.contents)
    ended = {0: "finished", 1: "one line"}.get(outcome.code, "killed")
    return Found(what=f"{place.kind}: {fault}", ended=ended, problem=problem)


def _then_again(place: Place, peace: Undisturbed, found: Found) -> Found:
    """Type the command in peace, look at what it leaves, and remove that."""
    outcome = place.again()
    problem = wrong(outcome) or (outcome.text if outcome.code else difference(place.contents(), peace.contents))
    place.reset()
    return found if found.problem or not problem else replace(found, problem=f"the same command again: {problem}")
