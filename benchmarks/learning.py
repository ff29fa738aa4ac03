"""How fast are gradients and steps of synthesis and training beside the released package on this device?

With the same weights and inputs; what is returned is compared, but for training, whose random draws differ.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import synthesis
import training
from machine import torch_device
from options import parse
from sides import Ours, Released, has_released, random_pixels
from table import Results
from turns import in_turns, short, spread, timed

PRECISIONS = {"float32": "released", "tensorfloat32": "released, TF32"}


def gradients(ours, frames, released):
    pixels = random_pixels(frames)
    steps = {precision: ours.gradient_in(precision) for precision in PRECISIONS}
    made = {precision: lambda step=step: np.asarray(step(pixels)) for precision, step in steps.items()}
    if released:
        made["released"] = lambda: released().gradient(pixels)
    return made


def syntheses(ours, frames, released):
    made = {precision: synthesis.OurStep(ours.twin, frames, precision=precision) for precision in PRECISIONS}
    if released:
        made["released"] = synthesis.ReleasedStep(released().model, next(iter(made.values())).raw)
    return made


def trainings(ours, frames, released):
    batch = training.windows(frames, ours.twin.config.num_units)
    made = {precision: training.OurStep(ours.twin, batch, precision=precision) for precision in PRECISIONS}
    if released:
        made["released"] = training.ReleasedStep(released().model, batch)
    return made


# What is asked, and how many videos there are.
CASES = {
    "gradient on the pixels of a clip": (gradients, 1),
    "step of synthesis": (syntheses, 1),
    "update of training, 4 windows": (trainings, training.BATCH),
}


def in_precision(tf32, call):
    def run():
        import torch

        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
        return call()

    return run


def main():
    options = parse(__doc__, {"units": 60, "frames": 3}, units=9941, frames=30, repeats=3)
    results = Results(__doc__, options)
    ours = Ours(options.units)
    state = ours.state_dict() if has_released() and not options.alone else None

    def released():
        return Released(options.units, state, device=torch_device())

    made, compiling = {}, []
    for name, (make, _) in CASES.items():
        made[name] = make(ours, options.frames, released if state else None)
        compiling += [(name, precision) for precision in PRECISIONS]

    def first_call(case):
        name, precision = case
        try:
            return timed(made[name][precision])
        except Exception as error:  # the others are wanted, too
            made[name].pop(precision)
            return 0.0, f"{precision} failed: {str(error).splitlines()[0][:200]}"

    with ThreadPoolExecutor(len(compiling)) as threads:  # side by side
        firsts = dict(zip(compiling, threads.map(first_call, compiling), strict=True))
    for name, (_, videos) in CASES.items():
        calls, notes = dict(made[name]), [first for _, first in (firsts[name, p] for p in PRECISIONS)]
        for note in (note for note in notes if isinstance(note, str)):
            results.note(f"{name}: {note}")
        if call := calls.pop("released", None):
            calls = {"released": in_precision(False, call), "released, TF32": in_precision(True, call), **calls}
        row(results, name, calls, firsts, options, videos)


def row(results, name, calls, firsts, options, videos):
    cells = {}
    wanted = timed(calls["released"])[1] if "released" in calls else firsts[name, next(iter(PRECISIONS))][1]
    for call in calls.values():
        call()  # what PyTorch chooses at the first call, it chooses again in another precision
    seconds = in_turns(calls, options.repeats)
    frames = options.frames * videos
    for side, values in seconds.items():
        cells[f"{side}, ms a frame"] = spread(s / frames * 1e3 for s in values)
    for precision, beside in PRECISIONS.items():
        if precision not in seconds:
            continue
        if beside in seconds:
            ratios = [a / b for a, b in zip(seconds[beside], seconds[precision], strict=True)]
            cells[f"{precision}: times faster than {beside}"] = spread(ratios)
        first_s, result = firsts[name, precision]
        if not name.startswith("update"):  # whose random draws differ
            difference = np.max(np.abs(result - wanted)) / np.max(np.abs(wanted))
            cells[f"{precision}: difference"] = f"{difference:.0e}"
        cells[f"{precision}: first call, s"] = short(first_s)
    results.add(f"{name}, {options.frames} frames, {options.units} units", cells, seconds=seconds)


if __name__ == "__main__":
    main()
