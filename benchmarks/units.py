"""How does the time of a prediction grow with the number of units?"""

from options import parse
from peak import peaks_of
from sides import both, random_video
from table import Results
from turns import compare


def main():
    quick = {"units": [10, 100], "frames": 8}
    options = parse(__doc__, quick, units=[100, 1000, 10_000, 100_000], frames=30)
    results = Results(__doc__, options)
    video = random_video(options.frames)
    for units in options.units:
        sides = both(units, alone=options.alone)
        calls = {name: lambda side=side: side.predict(video) for name, side in sides.items()}
        peaks = peaks_of(sides, "predict", units=units, frames=options.frames)
        compare(results, f"{units:,} units, {options.frames} frames", calls, options.frames, options.repeats, peaks)


if __name__ == "__main__":
    main()
