"""Does a long video take more time a frame, or more memory, than a short one?"""

import statistics

import numpy as np
from options import parse
from peak import peak
from sides import both, random_video
from table import Results
from turns import short, spread, timed

TOLERANCE = 1e-3


def main():
    quick = {"units": 60, "frames": [8, 40]}
    options = parse(__doc__, quick, units=9941, frames=[300, 9000], repeats=2)
    results = Results(__doc__, options)
    sides = both(options.units, alone=options.alone)
    few, many = options.frames
    video = random_video(many)
    predict = sides["fnn_jax"].predict

    beginning = predict(video[:few])
    if "released" in sides:
        theirs_s, theirs = timed(lambda: sides["released"].predict(video[:few]))
        require_equal(beginning, theirs)
    short_s, long_s = [], []
    for _ in range(options.repeats):  # the short one before and after, because the machine's speed varies
        short_s.append(timed(lambda: predict(video[:few]))[0])
        during_s, responses = timed(lambda: predict(video))
        long_s.append(during_s)
        short_s.append(timed(lambda: predict(video[:few]))[0])
        require_equal(responses[:few], beginning)
    peaks = {frames: peak("fnn_jax", "predict", units=options.units, frames=frames) for frames in (few, many)}

    around_s = [statistics.mean(short_s[i : i + 2]) for i in range(0, len(short_s), 2)]
    ratios = [(a / many) / (b / few) for a, b in zip(long_s, around_s, strict=True)]
    for frames, seconds in ((few, short_s), (many, long_s)):
        cells = {"ms a frame": spread(s / frames * 1e3 for s in seconds)}
        cells["times the short one's"] = spread(ratios) if frames == many else "1"
        if peaks[frames]:
            gb, arrays_gb = peaks[frames]["peak_gb"], peaks[frames]["inputs_and_result_gb"]
            cells |= {"GB": f"{gb:.2f}", "GB, less inputs and result": f"{gb - arrays_gb:.2f}"}
        results.add(f"{frames} frames, {options.units} units", cells, seconds=seconds, peak=peaks[frames])
    if "released" in sides:
        cells = {"ms a frame": short(theirs_s / few * 1e3)}
        results.add(f"{few} frames, released, one call", cells, seconds=[theirs_s])


def require_equal(ours, others):
    difference = np.max(np.abs(ours - others)) / np.max(np.abs(ours))
    if not difference < TOLERANCE:
        raise SystemExit(f"The responses differ by {difference:.1e} of the largest. Nothing is timed.")


if __name__ == "__main__":
    main()
