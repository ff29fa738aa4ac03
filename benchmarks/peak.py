"""How much memory does a process need that asks one side once?

As a script it is that process, and prints one line of JSON.
"""

import argparse
import json
import subprocess
import sys

from machine import HERE, torch_device
from memory import peak_gb
from options import HELP


def peak(side, call, *, units, frames, clips=1):
    """Peak memory of a new process in which one side is called once; None where that process was killed."""
    arguments = [f"--{name}={value}" for name, value in (("units", units), ("frames", frames), ("clips", clips))]
    command = [sys.executable, str(HERE / "peak.py"), side, call, *arguments]
    done = subprocess.run([*command, f"--device={torch_device()}"], stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None


def peaks_of(sides, call, **sizes):
    """``peak`` of each side by name, those that are not a side of their own left out."""
    return {side: peak(side, call, **sizes) for side in sides if side in ("released", "fnn_jax")}


def main():
    from sides import Ours, Released, random_pixels, random_video  # heavy, and not for who starts the process

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side", choices=("released", "fnn_jax"))
    parser.add_argument("call", choices=("predict", "gradient"))
    for name, default in (("units", 9941), ("frames", 90), ("clips", 1)):
        parser.add_argument(f"--{name}", type=int, default=default, help=HELP[name])
    parser.add_argument("--device", default="cpu", help="where PyTorch computes")
    options = parser.parse_args()

    side = Ours(options.units) if options.side == "fnn_jax" else Released(options.units, device=options.device)
    gradient = options.call == "gradient"
    inputs = random_pixels(options.frames) if gradient else random_video(options.frames, options.clips)
    result = side.gradient(inputs) if gradient else side.predict(inputs)
    arrays_gb = (inputs.nbytes + result.nbytes) / 1e9
    process_gb = peak_gb()
    peak = process_gb if options.device == "cpu" else side.device_peak_gb()
    print(json.dumps({"peak_gb": peak, "process_gb": process_gb, "inputs_and_result_gb": arrays_gb}))


if __name__ == "__main__":
    main()
