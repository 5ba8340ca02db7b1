"""The long campaign, `make crash`: `python -m crash.campaign PART... --kinds plain,jobs --seed 0 --count 100`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from crash.breaking import Found, at_operations, by_power_cut, by_time, undisturbed
from crash.kinds import KINDS, Place
from crash.mutations import by_mutation
from crash.server import MODES, serving


def operations(place: Place, words: argparse.Namespace) -> Iterator[Found]:
    peace = undisturbed(place)
    for mode in words.modes.split(","):
        yield from at_operations(place, peace, mode, range(1, len(peace.trace) + 1))


def kills(place: Place, words: argparse.Namespace) -> Iterator[Found]:
    yield from by_time(place, undisturbed(place), words.seed, words.count)


def power(place: Place, _: argparse.Namespace) -> Iterator[Found]:
    yield from by_power_cut(place, undisturbed(place), strict=False)


def posix(place: Place, words: argparse.Namespace) -> Iterator[Found]:
    yield from by_power_cut(place, undisturbed(place), strict=True, num_states=words.count)


def mutations(place: Place, words: argparse.Namespace) -> Iterator[Found]:
    yield from by_mutation(place, undisturbed(place), words.seed, words.count)


PARTS = {part.__name__: part for part in (operations, kills, power, posix, mutations)}


def main() -> None:
    """Do the parts that are named on each kind of run; print what was wrong, and how often what happened."""
    parser = argparse.ArgumentParser(prog="crash.campaign", description=__doc__)
    parser.add_argument("parts", nargs="+", choices=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--kinds", default=",".join(KINDS), help="runs to break")
    parser.add_argument("--modes", default=",".join(MODES[1:]), help="what goes wrong at operations")
    parser.add_argument("--seed", default=0, type=int, help="of what is drawn")
    parser.add_argument("--count", default=100, type=int, help="of kills, mutations, states of posix, for each kind")
    words = parser.parse_args()
    num_wrong = 0
    with tempfile.TemporaryDirectory(prefix="crash-") as folder, serving(Path(folder)) as server:
        for part in words.parts:
            for kind in words.kinds.split(","):
                ended = Counter[str]()
                for found in PARTS[part](Place(server=server, folder=Path(folder) / kind, kind=kind), words):
                    ended["wrong" if found.problem else found.ended] += 1
                    if found.problem:
                        print(f"WRONG {found.what}: {found.problem}", flush=True)
                print(f"{part} {kind}: {ended.total()}: {dict(ended)}", flush=True)
                num_wrong += ended["wrong"]
    sys.exit(num_wrong > 0)


if __name__ == "__main__":
    main()
