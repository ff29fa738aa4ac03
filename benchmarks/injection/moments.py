"""Work that does not come to its end, finds no room, or is not alone."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from injection.children import KILLED, Children
from injection.tally import (
    BAD,
    HARMLESS,
    LOST,
    MENDED,
    NO_ROOM,
    REFUSED,
    UNCLEAR,
    Tally,
    outcome_of_going_on,
    outcome_of_reading,
    refusal,
)
from injection.works import PART, Values, Work

Step = Callable[[], object]
AT_ONCE = 2  # processes: most machines have two cores
ROOM = 64 * 2**20  # of the small disk
SHARES = (0, 0.03, 0.2, 0.4, 0.6, 0.8, 0.95, 0.999)  # of the room that the work takes


def kills(
    work: Work,
    children: Children,
    folder: Path,
    older: Path | None,
    values: list[Values],
    counts: tuple[int, int],
    random: np.random.Generator,
    tally: Tally,
    step: Step,
) -> None:
    """Kill the work at so many of its calls to the file system, evenly spread, and at so many moments at random."""
    ((_, whole),) = _done(work, children, folder, older, {})
    calls, seconds = whole["calls"], whole["seconds"]
    at = np.unique(np.linspace(1, calls, counts[0]).round().astype(int))
    plans = [{"kill": int(number)} for number in at]
    plans += [{"after_s": float(seconds * share)} for share in random.uniform(0.02, 1, counts[1])]
    for start in range(0, len(plans), AT_ONCE):
        some = plans[start : start + AT_ONCE]
        for plan, (out, end) in zip(some, _done(work, children, folder, older, *some), strict=True):
            if end["code"] not in (0, *KILLED) or end["error"]:
                outcome = f"{UNCLEAR}: it ended with {end}"
            else:
                outcome = _of_what_is_left(work, out, values)
            tally.add(work, "kill", outcome, f"{plan} of {calls} calls, {seconds:.1f} s")
            step()


def _of_what_is_left(work: Work, out: Path, values: list[Values]) -> str:
    """Replaced: the old or the new. Else: nothing, or what is done. Then the same call, to the same end."""
    if not work.goes_on:
        outcome = outcome_of_reading(work, out, *values)
        if outcome.startswith(REFUSED) or outcome.startswith(UNCLEAR):
            return f"{LOST}: neither the old nor the new can be read ({outcome})"
        again = _gone_on_with(work, out, outcome, values[0])
        return again if again.startswith(BAD) else MENDED
    outcome = REFUSED
    if out.exists() and work.reading_is_not_going_on:
        outcome = outcome_of_reading(work, out, values[0])
    return outcome if outcome.startswith(BAD) else _gone_on_with(work, out, outcome, values[0])


def _gone_on_with(work: Work, out: Path, before: str, expected: Values) -> str:
    """Nothing was damaged: to refuse to go on is to lose the work."""
    after = outcome_of_going_on(work, out, before, expected)
    return f"{LOST}: the same call refuses to go on" if after == REFUSED else after


def _done(work: Work, children: Children, folder: Path, older: Path | None, *plans: dict, shared: bool = False) -> list:
    """A folder for each plan, or one for all, and how the process ended that worked on it."""
    shutil.rmtree(folder, ignore_errors=True)
    outs = [folder / str(0 if shared else i) / "out" for i in range(len(plans))]
    for out in dict.fromkeys(outs):
        out.parent.mkdir(parents=True)
        if older is not None:
            shutil.copytree(older, out)
    jobs = [{"out": out, **plan} for out, plan in zip(outs, plans, strict=True)]
    return list(zip(outs, children.run(work, *jobs), strict=True))


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """A disk of its own; None where this user, or this system, may not mount one."""
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(folder)]
    mounted = shutil.which("mount") and subprocess.run(command, capture_output=True).returncode == 0
    try:
        yield folder if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def no_room(
    work: Work,
    children: Children,
    disk: Path,
    older: Path | None,
    values: list[Values],
    shares: tuple[float, ...],
    tally: Tally,
    step: Step,
) -> None:
    """Too little room on the disk: nothing half-written is served, and with room it comes to the same result."""
    filling = disk / "filling"
    ((out, _),) = _done(work, children, disk / "folder", older, {})
    needed = shutil.disk_usage(disk).used
    for share in shares:
        shutil.rmtree(out.parent)
        out.parent.mkdir()
        if older is not None:
            shutil.copytree(older, out)
        taken = shutil.disk_usage(disk)
        size = taken.free - round(share * max(needed - taken.used, needed / 2))
        with open(filling, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, size))
        (end,) = children.run(work, {"out": out})
        if end["code"] != 0:
            outcome = f"{UNCLEAR}: it ended with {end}"
        else:
            outcome = refusal(end["error"], out, NO_ROOM) if end["error"] else HARMLESS
        if not outcome.startswith(BAD):
            outcome = _of_a_full_disk(work, out, outcome, values)
        filling.unlink()
        if not outcome.startswith(BAD):
            again = _gone_on_with(work, out, REFUSED, values[0])
            outcome = again if again.startswith(BAD) else outcome
        tally.add(work, "full disk", outcome, f"{share:.1%} of {needed / 1024:.0f} KiB")
        step()
    shutil.rmtree(out.parent)


def _of_a_full_disk(work: Work, out: Path, outcome: str, values: list[Values]) -> str:
    """What is there is not served, or is the old; nothing if the work was said to be done."""
    if outcome == HARMLESS:
        read = outcome_of_reading(work, out, values[0])
        return f"{LOST}: there is no whole result" if read in (PART, REFUSED) else read
    if not out.exists() or not work.reading_is_not_going_on:
        return outcome if work.goes_on else f"{LOST}: the old one is gone"
    left = outcome_of_reading(work, out, *(values if work.goes_on else values[1:]))
    if not work.goes_on:
        return outcome if left == HARMLESS else f"{LOST}: the old one is gone ({left})"
    return left if left.startswith(BAD) else outcome


def two_at_once(
    work: Work,
    children: Children,
    folder: Path,
    starts: list[Path | None],
    values: list[Values],
    tally: Tally,
    step: Step,
) -> None:
    """Two processes do the same work in the same folder: neither harms the other."""
    for start in starts:
        (out, *_), ends = zip(*_done(work, children, folder, start, {}, {}, shared=True), strict=True)
        said = [refusal(end["error"], out) if end["error"] else HARMLESS for end in ends]
        bad = [each for each in said if each.startswith(BAD)] + [f"{UNCLEAR}: {e}" for e in ends if e["code"] != 0]
        outcome = bad[0] if bad else outcome_of_reading(work, out, values[0])
        if said == [REFUSED, REFUSED]:
            outcome = f"{LOST}: both were refused"
        elif outcome in (REFUSED, PART):
            outcome = f"{LOST}: there is no result"
        elif outcome == HARMLESS and REFUSED in said:
            outcome = REFUSED
        tally.add(work, "two writers", outcome, "from the beginning" if start is None else "with something there")
        step()
