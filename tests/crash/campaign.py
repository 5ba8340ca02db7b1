"""The long campaign, `make crash`: all of PLAN; or `python -m crash.campaign PART... --kinds jobs --count 100`."""

from __future__ import annotations

import argparse
import queue
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from crash.breaking import Found, at_operations, by_power_cut, by_time, drawn, undisturbed
from crash.kinds import KINDS, QUICK, Place
from crash.mutations import by_mutation
from crash.reading import by_reading
from crash.server import MODES, Server, memory, serving

EVERY = 10**9


def operations(place: Place, seed: int, count: int) -> Iterator[Found]:
    peace = undisturbed(place)
    every = [
        (mode, number)
        for mode in MODES[1:]
        for number, operation in enumerate(peace.trace, 1)
        if mode != "torn" or operation.what == "write"  # of what has no half it is `kill`
    ]
    for mode, number in drawn(every, seed, count):
        yield from at_operations(place, peace, mode, [number])


def kills(place: Place, seed: int, count: int) -> Iterator[Found]:
    yield from by_time(place, undisturbed(place), seed, count)


def power(place: Place, seed: int, count: int) -> Iterator[Found]:
    yield from by_power_cut(place, undisturbed(place), seed, count, strict=False)


def posix(place: Place, seed: int, count: int) -> Iterator[Found]:
    yield from by_power_cut(place, undisturbed(place), seed, count, strict=True)


def mutations(place: Place, seed: int, count: int) -> Iterator[Found]:
    yield from by_mutation(place, undisturbed(place), seed, count)


def reading(place: Place, seed: int, count: int) -> Iterator[Found]:
    yield from by_reading(place, undisturbed(place), seed, count)


PARTS = {part.__name__: part for part in (operations, kills, power, posix, mutations, reading)}


class Job(NamedTuple):
    """Names a part of the campaign on one kind of command; `count`: how often, at most as often as there are."""

    part: str
    kind: str
    count: int
    seed: int


PLAN = [
    Job(part, kind, count, seed)  # cheap ones first, so that what is wrong shows early
    for part, kinds, count in (
        ("reading", ["plain", "constructed"], 2400),
        ("operations", QUICK, EVERY),
        ("operations", ["hub"], 20),
        ("kills", ["plain"] * 4 + ["caffe", "constructed", "jobs", "events"], 100),
        ("kills", QUICK, 35),
        ("mutations", ["plain", "figure", "constructed"], 100),
        ("operations", ["plain"], EVERY),
        ("operations", ["caffe", "constructed", "jobs", "events"], 40),
        ("power", ["plain", *QUICK], EVERY),
        ("posix", ["plain", *QUICK], EVERY),
        ("power", ["caffe", "constructed", "jobs", "events"], 10),
        ("posix", ["caffe", "constructed", "jobs", "events"], 10),
    )
    for seed, kind in enumerate(kinds)
]


def main() -> None:
    """Do the parts; print what was wrong, and how often what happened."""
    parser = argparse.ArgumentParser(prog="crash.campaign", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; without one, all of PLAN")
    parser.add_argument("--kinds", default=",".join(KINDS), help="commands to break")
    parser.add_argument("--seed", default=0, type=int, help="of what is drawn")
    parser.add_argument("--count", default=100, type=int, help="how often, for each kind")
    parser.add_argument("--processes", default=1, type=int, help="how many at once")
    words = parser.parse_args()
    plan = [Job(part, kind, words.count, words.seed) for part in words.parts for kind in words.kinds.split(",")] or PLAN
    since, total = time.monotonic(), Counter[str]()
    with memory() as folder, ExitStack() as stack:
        servers = queue.SimpleQueue[Server]()
        for number in range(words.processes):
            (own := Path(folder) / str(number)).mkdir()
            servers.put(stack.enter_context(serving(own)))

        def do(job: Job) -> Counter[str]:
            server = servers.get()
            place = Place(server=server, folder=Path(folder) / f"{job.part}-{job.kind}-{job.seed}", kind=job.kind)
            ended = _count(PARTS[job.part](place, job.seed, job.count))
            servers.put(server)
            print(f"{job.part} {job.kind}, seed {job.seed}: {ended.total()}: {dict(ended)}", flush=True)
            return ended

        for ended in ThreadPoolExecutor(words.processes).map(do, plan):
            total += ended
    print(f"all: {total.total()}: {dict(total)}; {(time.monotonic() - since) / 60:.0f} min")
    sys.exit(total["wrong"] > 0)


def _count(every: Iterator[Found]) -> Counter[str]:
    ended = Counter[str]()
    for found in every:
        ended["wrong" if found.problem else found.ended] += 1
        if found.problem:
            print(f"WRONG {found.what}: {found.problem}", flush=True)
    return ended


if __name__ == "__main__":
    main()
