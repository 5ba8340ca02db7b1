"""Files of runs in which something was changed, and the commands that then read them."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from crash.breaking import Found, Undisturbed
from crash.kinds import OTHERS, RUN, Place, difference, wrong
from crash.server import Fault, Outcome

MUTATIONS = ("flip", "zeros", "cut", "digit", "garbage", "empty", "double")
COMMANDS = {
    "run": RUN,
    "list": "list --results-dir {results}",
    "plot": "plot {toml} --results-dir {results}",
    "report": "report --results-dir {results}",
    "table": "table 6 --results-dir {results}",
    "watch": "watch --once --results-dir {results}",
    "verify": "verify --device cpu --precision fp32 --results-dir {results}",
    "evaluate": OTHERS["evaluate"].command,
    "export": OTHERS["export"].command,
}
DRAWN = [*COMMANDS, *["run", "list", "table", "watch", "verify", "export"] * 3]  # the others take longer
READ_BY_NO_RUN = ("checkpoint.pt", "weights.safetensors")  # those of a finished run: `run` does not look at them


def mutated(content: bytes, how: str, draw: random.Random) -> bytes:
    """Return other bytes: one bit, up to 64 zeros, the end cut off, another digit, random bytes, none, or all twice."""
    at = draw.randrange(len(content)) if content else 0
    if how == "digit" and (digits := [found.start() for found in re.finditer(rb"[0-9]", content)]):
        at = draw.choice(digits)
        return content[:at] + bytes([(content[at] - 48 + draw.randint(1, 9)) % 10 + 48]) + content[at + 1 :]
    size = draw.randint(1, 64)
    return {
        "flip": content[:at] + bytes([content[at] ^ 1 << draw.randrange(8)] if content else []) + content[at + 1 :],
        "zeros": content[:at] + bytes(len(content[at : at + size])) + content[at + size :],
        "cut": content[:at],
        "garbage": content[:at] + draw.randbytes(len(content[at : at + size])) + content[at + size :],
        "double": content * 2,
    }.get(how, b"")


def by_mutation(place: Place, peace: Undisturbed, seed: int, num_mutations: int) -> Iterator[Found]:
    """Change a file of a finished run, or of one that was killed on its way, and type a command that reads it.

    It must give what it gives in peace, or name the file; `run` must end with the same bits, or with one line.
    """
    draw = random.Random(f"{place.kind} {seed}")
    kept = {name: keep(place, peace, name) for name in ("finished", "killed")}
    expected = dict[tuple[str, str], tuple[Outcome, Any]]()
    for _ in range(num_mutations):
        which, command, how = draw.choice(sorted(kept)), draw.choice(DRAWN), draw.choice(MUTATIONS)
        place.restore(kept[which])
        if (which, command) not in expected:
            expected[which, command] = _type(place, command), place.contents()
            place.restore(kept[which])
        path = draw.choice(sorted(path for path in place.results.rglob("*") if path.is_file()))
        before, written = path.read_bytes(), path.stat().st_mtime
        after = mutated(before, how, draw)
        if after == before:
            continue
        path.write_bytes(after)
        os.utime(path, (written, written))  # by which `watch` sorts
        finished = path.with_name("run.json").exists()
        outcome = _type(place, command)
        problem = wrong(outcome) if command != "verify" else wrong_verify(outcome)
        name = path.relative_to(place.results).as_posix()
        if not problem:
            problem = _compare(place, command, outcome, path, expected[which, command], finished=finished)
        ended = "one line" if outcome.code else "names the file" if path.name in outcome.text else "finished"
        yield Found(what=f"{place.kind}, {which}: {how} in {name}, then {command}", ended=ended, problem=problem)
    place.reset()


def wrong_verify(outcome: Outcome) -> str:
    """Return how `verify` ended as it must not; it says `differs` where other commands say `error`."""
    return (
        "" if outcome.code == 1 and "differs:" in outcome.text and "Traceback" not in outcome.text else wrong(outcome)
    )


def _compare(
    place: Place, command: str, outcome: Outcome, path: Path, expected: tuple[Outcome, Any], *, finished: bool
) -> str:
    if outcome.code or f"/{path.name}" in outcome.text:  # it is named
        return ""
    if command == "watch" and not finished:  # whose curve has no digest yet; `run` puts it right
        return ""
    if command != "run":
        return "" if outcome.text == expected[0].text else f"{outcome.text}\nexpected\n{expected[0].text}"
    found, right = place.contents(), dict(expected[1])
    if finished and path.name in READ_BY_NO_RUN:
        for name in [name for name in right if path.name in name or "whole" in name]:
            found.pop(name), right.pop(name)
    return difference(found, right)


def _type(place: Place, command: str) -> Outcome:
    outcome = place.type(COMMANDS[command])
    outcome = replace(outcome, text=re.sub(r"\S+ ago", "long ago", outcome.text))
    page = place.results / "report.md"
    return replace(outcome, text=outcome.text + page.read_text()) if page.is_file() and command == "report" else outcome


def keep(place: Place, peace: Undisturbed, which: str) -> Path:
    """Train to the end, or be killed after four fifths of the file operations; keep a copy of what that leaves."""
    kept = place.folder / which
    if not kept.exists():
        place.again(Fault(mode="kill", at=len(peace.trace) * 4 // 5) if which == "killed" else None)
        place.results.rename(kept)
    return kept
