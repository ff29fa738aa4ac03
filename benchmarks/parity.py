"""Does this device give the released code's numbers?

The golden files, and live, where the released package is there: on this device, and the same weights. With every
precision, because that is what an accelerator's differ by.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from machine import HERE, torch_device
from options import parse
from sides import has_released
from table import Results

sys.path[:0] = [str(HERE.parent / "tests" / "parity")]
FRAMES = 12
STAGES = ("retina", "modulation", "feedforward", "core", "readout")


def main():
    options = parse(__doc__, {})
    results = Results(__doc__, options)
    import recipe
    from tolerances import TOLERANCES, error

    from fnn_jax import NetworkConfig, Twin
    from fnn_jax.convert.conversion import from_state_dict
    from fnn_jax.model.numerics import PRECISIONS
    from fnn_jax.model.parameters import network_from_parameters

    golden = HERE.parent / "tests" / "parity" / "golden"
    state = recipe.weights(json.loads((golden / "shapes.json").read_text()))
    config = NetworkConfig.microns(24)
    twin = Twin(network_from_parameters(config, from_state_dict(state, config, "recipe")))
    video, eye, behaviour = recipe.video(FRAMES), recipe.behaviour(FRAMES, seed=10), recipe.behaviour(FRAMES, seed=20)
    other = recipe.video(FRAMES, seed=7), recipe.behaviour(FRAMES, seed=71), recipe.behaviour(FRAMES, seed=72)
    theirs = None
    if has_released() and not options.alone:
        import torch
        from fnn.microns.build import network

        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        model = network(24)
        model.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in state.items()})
        theirs = model.to(torch_device()).predict(*other)

    stages = np.load(golden / "stages.npz")
    expected = np.load(golden / "network.npz")["behaving"]

    def predictions(precision):
        """On the golden inputs, and with those of the live comparison; in float32, also the stages."""
        names = STAGES if precision == "float32" else ()
        found = twin.features(video, names, eye, behaviour, precision=precision) if names else {}
        responses = twin.predict(video, eye, behaviour, precision=precision)
        return found, responses, twin.predict(*other, precision=precision)

    with ThreadPoolExecutor(len(PRECISIONS)) as threads:  # compiled side by side
        found_by_precision = dict(zip(PRECISIONS, threads.map(predictions, PRECISIONS), strict=True))
    for precision, (found, responses, live) in found_by_precision.items():
        cases = [("response", "golden response", responses, expected)]
        if found:
            cases += [("readout", "golden readout", found["readout"][5], stages["readout5"])]
            for name, ours, key in (("feedforward", "feedforward", "feedforward"), ("core", "core", "recurrent")):
                maps = np.moveaxis(found[ours][5], -1, 1)[:, ::8, ::3, ::3]
                cases.append((name, f"golden {name}", maps, stages[f"{key}5"]))
        if theirs is not None:
            cases.append(("live response", "live response", live, theirs))
        for entry, label, ours, wanted in cases:
            kind, allowed, _ = TOLERANCES[entry]
            measured = float(error(kind, ours, wanted))
            cells = {"precision": precision, "error": f"{measured:.1e}", "kind": kind}
            if precision == "float32":
                cells |= {"allowed": f"{allowed:.0e}", "": "yes" if measured <= allowed else "NO"}
            results.add(f"{label}, {precision}", cells, error=measured)


if __name__ == "__main__":
    main()
