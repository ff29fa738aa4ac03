"""How fast is a prediction for one clip?

Of 90 frames; on an accelerator also of 300.
"""

from machine import on_cpu
from options import parse
from peak import peaks_of
from sides import both, random_video
from table import Results
from turns import compare


def main():
    quick = {"units": [60], "frames": [8]}
    options = parse(__doc__, quick, units=[9941, 100], frames=[], compile=False)
    results = Results(__doc__, options)
    for units in options.units:
        sides = both(units, alone=options.alone, compiled=options.compile)
        for frames in options.frames or ([90] if on_cpu() else [90, 300]):
            video = random_video(frames)
            calls = {name: lambda side=side, video=video: side.predict(video) for name, side in sides.items()}
            peaks = peaks_of(sides, "predict", units=units, frames=frames)
            compare(results, f"{frames} frames, {units} units", calls, frames, options.repeats, peaks)


if __name__ == "__main__":
    main()
