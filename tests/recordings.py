"""A small recording on disk, in the released layout."""

import numpy as np

SIZE = (18, 32)


def arrays(frames=24, units=5, seed=0):
    """Of one trial: noise, traces with mean 0 and standard deviation 1, responses with mean 1."""
    random = np.random.default_rng(seed)
    return {
        "stimuli": random.integers(0, 256, (frames, *SIZE, 1), dtype=np.uint8),
        "perspectives": random.standard_normal((frames, 2)).astype(np.float32),
        "modulations": random.standard_normal((frames, 2)).astype(np.float32),
        "units": random.gamma(2, 0.5, (frames, units)).astype(np.float32),
    }


def write_trial(folder, name, training=True, **content):
    content = {"training": np.array(training), "samples": np.array(len(content["stimuli"])), **content}
    for kind, array in content.items():
        (folder / kind).mkdir(parents=True, exist_ok=True)
        np.save(folder / kind / f"{name}.npy", array)


def write_recording(folder, trials=5, **options):
    """The last trial is for validation."""
    for number in range(trials):
        write_trial(folder, f"trial{number}", number < trials - 1, **arrays(seed=number, **options))
    return folder
