"""How fast is a prediction for a batch of clips?"""

from machine import on_cpu
from options import parse
from peak import peaks_of
from sides import both, random_video
from table import Results
from turns import compare

FRAMES_ON_CPU = 16


def main():
    quick = {"units": 60, "clips": [2], "frames": [8]}
    sizes = {"units": 9941, "clips": [8, 32], "frames": [48, 300]}
    options = parse(__doc__, quick, **sizes, large=False, compile=False, repeats=3)
    results = Results(__doc__, options)
    sides = both(options.units, alone=options.alone, compiled=options.compile)
    for clips, frames in zip(options.clips, options.frames, strict=True):
        name = f"{clips} clips of {frames} frames, {options.units} units"
        if frames > 100 and on_cpu() and not options.large:
            name = f"{clips} clips of {FRAMES_ON_CPU} frames (of {frames} with --large), {options.units} units"
            frames = FRAMES_ON_CPU
        video = random_video(frames, clips)
        calls = {side: lambda side=side, video=video: sides[side].predict(video) for side in sides}
        peaks = peaks_of(sides, "predict", units=options.units, frames=frames, clips=clips)
        compare(results, name, calls, frames * clips, options.repeats, peaks)


if __name__ == "__main__":
    main()
