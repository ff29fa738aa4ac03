"""How much memory does a process need that asks one side once? For ``common.peak``; it prints one line of JSON."""

import argparse
import json

from common import HELP, peak_gb
from sides import Ours, Released, random_pixels, random_video


def main():
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
