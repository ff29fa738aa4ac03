"""Results of several scripts in one file for people and one with all raw times; a script's new results replace its old.

Where a script was not run, what the file said of it stays.
"""

import json
from pathlib import Path

BUSY = 0.15  # cores; the system itself needs some
HEAD = """\
# Benchmarks: {platform}

Written by `python benchmarks/run.py`, from the raw times in `{platform}.json`. Both sides have the same weights, inputs
and threads, run in one process and take turns; what they return is compared first. Figures are medians, with the
quartiles in brackets, and *times faster* is the median of the ratios of turns that followed one another: the speed of a
machine varies, and only these ratios mean much. *Compiling* is what the first call took longer. *GB* is the peak memory
of a process of its own (on a GPU, that of the device). *Difference* is the largest, relative to the largest value.
"""


def table(rows):
    """Lines of a markdown table; the columns are those of all rows, in the order in which they come."""
    columns = list(dict.fromkeys(column for row in rows for column in row["cells"]))
    lines = [["", *columns], ["---"] * (len(columns) + 1)]
    lines += [[row["name"], *(str(row["cells"].get(column, "-")) for column in columns)] for row in rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def describe(machine):
    """The machine in a line."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    device = f"{machine['device']}; " if machine["device"] else ""
    return f"{device}{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB; {versions}"


def warning(script):
    """What to say where something else ran meanwhile: the ratios mean nothing then."""
    if script["busy_cores"] < BUSY:
        return ""
    # PyTorch's threads wait spinning: beside other work it took 10 times longer on two cores, JAX less than twice.
    return (
        f"{script['busy_cores']} cores were busy with something else, which slows PyTorch down the most: run it again"
    )


def markdown(platform, scripts):
    """The file for people: a section for each script, in the given order."""
    lines = [HEAD.format(platform=platform)]
    for script in scripts.values():
        source = f"`{script['command']}`, {script['date']}, commit {script['commit'] or 'unknown'}"
        lines += [f"## {script['question']}\n", f"{source}; {describe(script['machine'])}\n"]
        lines += [*table(script["rows"]), ""]
        notes = [f"**{warning(script)}**"] * bool(warning(script)) + script["notes"]
        lines += [f"- {note}" for note in notes] + [""] * bool(notes)
    return "\n".join(lines).rstrip() + "\n"


def merge(folder, name, new, order):
    """Write ``name.json`` and ``name.md`` into a folder: new results by script, and those it had of other scripts."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    scripts = (json.loads(path.read_text())["scripts"] if path.exists() else {}) | new
    scripts = {script: scripts[script] for script in sorted(scripts, key=[*order, *sorted(scripts)].index)}
    path.write_text(json.dumps({"platform": name, "scripts": scripts}, indent=1) + "\n")
    path.with_suffix(".md").write_text(markdown(name, scripts))
    return path.with_suffix(".md")
