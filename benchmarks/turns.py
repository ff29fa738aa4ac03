"""Sides that take turns: what they return is compared, then each call is timed, and a row made of it."""

import statistics
import time


def timed(function):
    """Seconds, and what the function returned; it returns what the device has finished, in NumPy arrays."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def in_turns(sides, repeats):
    """Seconds of each call of each side; the order turns round each time, so that a drift favours nobody."""
    seconds = {name: [] for name in sides}
    for repeat in range(repeats):
        for name in list(sides) if repeat % 2 == 0 else reversed(sides):
            seconds[name].append(timed(sides[name])[0])
    return seconds


def short(value):
    """Three digits, or all that stand before the point."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def spread(values):
    """The median, and the quartiles where there are several values."""
    values = list(values)
    if len(values) == 1:
        return short(values[0])
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{short(middle)} ({short(low)}-{short(high)})"


def compare(results, name, sides, frames, repeats, peaks=None, tolerance=1e-3):
    """A row of the table: milliseconds a frame of each side. The results are compared before anything is timed.

    Args:
        sides: functions that return arrays, by name; the last one is ours, and is compared with each of the others.
        frames: how many frames a call computes, all clips together.
        peaks: what ``peak`` returned for each side.
    """
    import numpy as np

    *others, ours = sides
    firsts = {side: timed(function) for side, function in sides.items()}
    wanted = firsts[ours][1]
    differences = {side: float(np.max(np.abs(firsts[side][1] - wanted)) / np.max(np.abs(wanted))) for side in others}
    for side, difference in differences.items():
        if not difference < tolerance:
            raise SystemExit(f"{name}: {side} and {ours} differ by {difference:.1e} of the largest. Nothing is timed.")
    del wanted
    first_s = {side: first for side, (first, _) in firsts.items()}
    del firsts
    seconds = in_turns(sides, repeats)

    cells = {f"{side}, ms a frame": spread(s / frames * 1e3 for s in seconds[side]) for side in sides}
    for side in others:
        ratios = [a / b for a, b in zip(seconds[side], seconds[ours], strict=True)]
        cells["times faster" if side == others[0] else f"times faster than {side}"] = spread(ratios)
    for side in sides:
        if side != "released":
            compile_s = max(0.0, first_s[side] - statistics.median(seconds[side]))
            cells[f"{side}, compiling, s"] = short(compile_s)
    for side, peak in (peaks or {}).items():
        cells[f"{side}, GB"] = short(peak["peak_gb"]) if peak else "-"
    if others:
        cells["difference"] = f"{max(differences.values()):.0e}"
    raw = {"seconds": seconds, "frames": frames, "first_call_s": first_s, "peaks": peaks or {}}
    results.add(name, cells, differences=differences, **raw)
