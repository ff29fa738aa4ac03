"""Wrong arguments of the stimuli, drawn at random: each is refused before a frame is made; see ``test_fuzz``."""

import numpy as np
import pytest
from hypothesis import strategies as st
from wrong import (
    DTYPES,
    JUNK,
    LEVELS,
    NO_SCALARS,
    NONE,
    SIZE,
    TEXTS,
    Odd,
    check,
    floats,
    integers,
    lists,
    one_wrong_value,
    paths,
    points,
    seeds,
    words,
)

from fnn_jax import stimuli

DISPLAY = JUNK | TEXTS | NONE | st.integers()
DURATION = floats(above=0)
GAP = floats(0)
CONTRAST = floats(0, most=1)
MEAN = floats(above=0, most=0.5)
DIAMETER = floats(above=0, none=True)
GRATING = {
    "direction": floats(-360, most=360),
    "spatial_frequency": floats(0, most=10),
    "temporal_frequency": floats(-15, most=15),
    "contrast": CONTRAST,
    "phase": floats(),
    "mean": MEAN,
    "center": points(),
}
APERTURE = {"diameter": DIAMETER, "inner_diameter": floats(0, none=True), "edge": GAP}
SERIES = {
    "directions": lists(floats(-360, most=360)),
    "spatial_frequencies": lists(floats(0, most=10)),
    "temporal_frequencies": lists(floats(-15, most=15)),
    "on_s": DURATION,
    "off_s": GAP,
    "repeats": integers(),
    "seed": seeds(none=True),
    "mean": MEAN,
    "center": points(),
}
NOISE = {"contrast": CONTRAST, "duration_s": DURATION, "seed": seeds()}
IMAGE = np.zeros((2, 5, 5), np.uint8)
NO_FRAMES = JUNK | NONE | st.integers() | st.floats() | NO_SCALARS | one_wrong_value((2, 5, 5), LEVELS[:5])
NO_FRAMES |= st.sampled_from([d for d in DTYPES]).map(lambda dtype: np.zeros((2, 5, 5), dtype)) | paths()
NO_MAPPING = TEXTS | NONE | st.integers() | NO_SCALARS | st.sampled_from([Odd(), {1, 2}, b"bytes"])
MOVIES = {
    "grating": GRATING | APERTURE | {"waveform": words("sine", "square"), "num_frames": integers()},
    "gabor": GRATING | {"sigma": floats(above=0), "num_frames": integers()},
    "plaid": {"first": NO_MAPPING, "second": NO_MAPPING, "mean": MEAN},
    "aperture": APERTURE | {"center": points()},
    "gratings": SERIES
    | {
        "contrasts": lists(CONTRAST),
        "phases": lists(floats()),
        "diameters": lists(DIAMETER),
        "waveform": words("sine", "square"),
        "edge": GAP,
    },
    "gabors": SERIES | {"sigma": floats(above=0)},
    "center_surround": {
        "center_direction": floats(-360, most=360, none=True),
        "surround_direction": floats(-360, most=360, none=True),
        "center_diameter": floats(above=0),
        "gap": GAP,
        "surround_diameter": floats(above=0, none=True),
        "mean": MEAN,
    },
    "grid_positions": {"columns": integers(), "rows": integers(), "reach": floats()},
    "gaussian_dots": {
        "positions": lists(points()).filter(lambda value: value is not None) | st.just([(0, 0), (500.0, 0)]),
        "sigma": floats(above=0),
        "signs": lists(floats(-1, most=1)),
        "contrast": floats(above=0, most=1),
        "on_s": DURATION,
        "off_s": GAP,
        "repeats": integers(),
        "seed": seeds(none=True),
    },
    "gaussian_mask": {"x": floats(), "y": floats(), "sigma": floats(above=0)},
    "dot_kinematogram": NOISE
    | {
        "motion": words("translation", "radial", "rotation"),
        "direction": floats(),
        "speed": floats(),
        "coherence": CONTRAST,
        "diameter": floats(above=0),
        "density": floats(above=0),
    },
    "white_noise": NOISE
    | {"check": floats(above=0), "rate_hz": floats(above=0, most=30), "kind": words("binary", "gaussian")},
    "sparse_noise": NOISE | {"check": floats(above=0), "density": CONTRAST, "rate_hz": floats(above=0, most=30)},
    "pink_noise": NOISE | {"spatial_exponent": floats(), "temporal_exponent": floats(), "contrast": floats(0)},
    "monet2": NOISE
    | {
        "directions": lists(floats()).filter(lambda value: not isinstance(value, int))
        | st.sampled_from([0, -1, 2**40, True]),
        "coherence": floats(1),
        "ori_fraction": floats(above=0, most=1),
        "bandwidth_hz": floats(above=0, most=30),
        "speed": floats(),
        "contrast": floats(0),
    },
    "trippy": {
        "temporal_frequency": floats(-15, most=15),
        "spatial_frequency": floats(0, most=10),
        "nodes": lists(integers(4)) | st.sampled_from([(5,), (5, 5, 5), (3, 5)]),
        "smooth_s": DURATION,
        "duration_s": DURATION,
        "seed": seeds(),
    },
    "blank": {"duration_s": DURATION, "level": CONTRAST},
    "flashes": {
        "levels": lists(CONTRAST),
        "on_s": DURATION,
        "off_s": GAP,
        "background": CONTRAST,
        "repeats": integers(),
    },
    "chirp": {
        "frequencies": points() | st.sampled_from([(0, 5), (1, 15), (-1, 5)]),
        "frequency_sweep_s": DURATION,
        "contrast_frequency": floats(above=0, most=15),
        "contrast_sweep_s": DURATION,
    },
    "moving_bars": {
        "directions": lists(floats()),
        "width": floats(above=0),
        "speed": floats(above=0),
        "contrast": floats(-1, most=1),
        "background": CONTRAST,
        "off_s": GAP,
    },
    "looming_discs": {
        "ratios_s": lists(floats(above=0)),
        "center": points() | st.just((500, 0)),
        "start": floats(above=0, most=180),
        "stop": floats(above=0, most=180),
        "contrast": floats(-1, most=1),
        "background": CONTRAST,
        "hold_s": GAP,
        "off_s": GAP,
    },
    "images": {
        "source": NO_FRAMES,
        "fit": words("crop", "pad", "stretch"),
        "on_s": DURATION,
        "off_s": GAP,
        "background": CONTRAST,
        "repeats": integers(),
        "seed": seeds(none=True),
    },
    "video": {
        "source": NO_FRAMES,
        "fit": words("crop", "pad", "stretch"),
        "frames_per_second": floats(above=0, none=True),
        "times_s": lists(floats()).filter(lambda value: value is not None) | st.sampled_from([[0.0], [1, 0], [1, 1]]),
    },
    "frame_list": {"frames": NO_FRAMES.filter(lambda value: not isinstance(value, str)), "times_s": lists(floats())},
}
REQUIRED = {
    "plaid": {"first": {}, "second": {}},
    "gabor": {"sigma": 10},
    "gabors": {"sigma": 10},
    "gaussian_mask": {"x": 0, "y": 0, "sigma": 10},
    "images": {"source": IMAGE},
    "video": {"source": IMAGE},
    "frame_list": {"frames": IMAGE, "times_s": [0, 1]},
    "center_surround": {"surround_direction": 0},
}
LOW = {"spatial_frequency": 0.01, "spatial_frequencies": [0.01]}  # the monitor of few pixels shows no others
SINGULAR = {
    "directions": "direction",
    "spatial_frequencies": "spatial_frequency",
    "temporal_frequencies": "temporal_frequency",
    "contrasts": "contrast",
    "diameters": "diameter",
    "phases": "phase",
    "source": "image|frames",
    "background": "level",
}


@pytest.fixture(scope="module")
def display():
    return stimuli.FlatDisplay(*SIZE, "deg", 3.0)


def maker(function, display):
    valid = {"display": display, **REQUIRED.get(function, {})}
    table = MOVIES[function]
    valid |= {name: value for name, value in LOW.items() if name in table}

    def make(**wrong):
        # A diameter counts only beside the arguments that it limits.
        beside = {"diameter": 20.0} if "inner_diameter" in wrong and "diameter" in table else {}
        return getattr(stimuli, function)(**{**valid, **beside, **wrong})

    return make


@pytest.mark.parametrize("function", MOVIES)
def test_stimuli(display, function):
    make = maker(function, display)
    make()
    check(make, "display", DISPLAY)
    for argument, strategy in MOVIES[function].items():
        check(make, argument, strategy, *filter(None, [SINGULAR.get(argument)]))
