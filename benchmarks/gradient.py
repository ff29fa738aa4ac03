"""What does the gradient of one unit's summed response with respect to the pixels take, in time and memory?"""

from memory import available_gb
from options import parse
from peak import peak
from sides import both, cpu_devices, random_pixels
from table import Results
from turns import compare

MARGIN = 1.25  # our side needs some memory too


def main():
    quick = {"units": 60, "frames": [2]}
    options = parse(__doc__, quick, units=9941, frames=[30, 90], repeats=3)
    devices = cpu_devices()
    results = Results(__doc__, options)
    everyone = both(options.units, alone=options.alone)
    gb_a_frame = 0.0
    for frames in options.frames:
        sides = dict(everyone)
        sizes = {"units": options.units, "frames": frames}
        peaks = {}
        if "released" in sides:
            needed, available = MARGIN * gb_a_frame * frames, available_gb()
            peaks["released"] = peak("released", "gradient", **sizes) if needed < available else None
            if peaks["released"]:
                gb_a_frame = peaks["released"]["process_gb"] / frames
            else:
                del sides["released"]
                wants = f"wants about {needed / MARGIN:.0f} GB" if needed else "was stopped"
                results.note(f"{frames} frames: the released package {wants}, {available:.0f} GB were free. Left out.")
        peaks["fnn_jax"] = peak("fnn_jax", "gradient", **sizes)
        pixels = random_pixels(frames)
        calls = {name: lambda side=side, pixels=pixels: side.gradient(pixels) for name, side in sides.items()}
        name = f"{frames} frames, {options.units} units"
        compare(results, name, calls, frames, options.repeats, peaks)
        if devices > 1 and frames == options.frames[0]:
            apart = sides["fnn_jax"].gradient_apart()
            calls["fnn_jax"] = lambda apart=apart, pixels=pixels: apart(pixels)
            name = f"{name}, streams over {devices} devices of the CPU"
            compare(results, name, calls, frames, options.repeats)


if __name__ == "__main__":
    main()
