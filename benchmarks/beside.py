"""How fast is a prediction beside the released package on this device, in each precision?

Whole calls of ``predict``, the video's way to the device and the responses' way back included.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from machine import torch_device
from options import parse
from sides import Ours, Released, has_released, random_video
from table import Results
from turns import in_turns, spread, timed

CASES = [(1, 96), (32, 32)]  # clips, frames
PRECISIONS = ("float32", "tensorfloat32", "bfloat16")


def main():
    options = parse(__doc__, {"units": 60}, units=9941, repeats=3, compile=False)
    results = Results(__doc__, options)
    ours = Ours(options.units)
    sides = {}
    if has_released() and not options.alone:
        import torch

        def released(tf32, model):
            def predict(video):
                torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
                return model.predict(video)

            return predict

        state, device = ours.state_dict(), torch_device()
        eager = Released(options.units, state, device=device)
        sides = {"released": released(False, eager), "released, TF32": released(True, eager)}
    for precision in PRECISIONS:
        sides[precision] = lambda video, precision=precision: ours.twin.predict(
            video, precision=precision, progress=False
        )
    for clips, frames in CASES:
        frames = 8 if options.quick else frames
        video = random_video(frames, clips)
        calls = {name: lambda side=side, video=video: side(video) for name, side in sides.items()}
        firsts = {name: timed(call) for name, call in calls.items() if name not in PRECISIONS}
        ours_only = [calls[name] for name in PRECISIONS]
        with ThreadPoolExecutor(len(PRECISIONS)) as threads:  # compiled side by side
            firsts |= zip(PRECISIONS, threads.map(timed, ours_only), strict=True)
        exact = firsts.get("released", firsts["float32"])[1]
        seconds = in_turns(calls, options.repeats)
        cells = {}
        for name, values in seconds.items():
            cells[f"{name}, ms a frame"] = spread(s / frames / clips * 1e3 for s in values)
        for name in PRECISIONS:
            first = "released" if name == "float32" else "released, TF32"
            if first in seconds:
                ratios = [a / b for a, b in zip(seconds[first], seconds[name], strict=True)]
                cells[f"{name}: times faster than {first}"] = spread(ratios)
            difference = np.max(np.abs(firsts[name][1] - exact)) / np.max(np.abs(exact))
            cells[f"{name}: difference"] = f"{difference:.0e}"
        raw = {"seconds": seconds, "first_s": {name: first for name, (first, _) in firsts.items()}}
        results.add(f"{clips} clips of {frames} frames, {options.units} units", cells, **raw)


if __name__ == "__main__":
    main()
