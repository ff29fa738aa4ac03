"""Files that are damaged after they were written."""

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from faulty import FAULTS, inflict

from injection.tally import BAD, HARMLESS, REFUSED, Tally, outcome_of_going_on, outcome_of_reading
from injection.works import Values, Work


def damage(
    work: Work,
    folders: dict[str, Path],
    expected: Values,
    count: int,
    seed: int,
    tally: Tally,
    step: Callable[[], object],
) -> None:
    """Damage one file after the other of copies of folders: each kind of damage to each file, until ``count``.

    Args:
        folders: by what they hold, ``"finished"`` or ``"unfinished"``.
    """
    random = np.random.default_rng(seed)
    targets = [
        (state, folder, file.relative_to(folder))
        for state, folder in folders.items()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    ]
    every = list(itertools.product(FAULTS, targets))
    chosen: list = []
    while len(chosen) < count:  # each fault of each file before any comes again, with other numbers
        chosen += [every[i] for i in random.permutation(len(every))]
    chosen = chosen[:count]
    for number, (fault, (state, folder, name)) in enumerate(chosen):
        copy = folder.with_name(f"damaged {folder.name}")
        shutil.copytree(folder, copy)
        inflict(fault, copy / name, random)
        outcome = outcome_of_reading(work, copy, expected) if state == "finished" else REFUSED
        goes_on = work.goes_on and (
            number % work.every == 0 or state == "unfinished" or outcome not in (REFUSED, HARMLESS)
        )
        if goes_on and not outcome.startswith(BAD):
            outcome = outcome_of_going_on(work, copy, outcome, expected)
        tally.add(work, "damage", outcome, f"{fault} of {name}, {state}")
        shutil.rmtree(copy)
        step()
