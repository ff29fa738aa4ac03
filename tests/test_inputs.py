"""Bad input: each is refused before any work, with the argument, what came, what was expected, and the remedy."""

import re

import jax.numpy as jnp
import numpy as np
import pytest

from fnn_jax import NetworkConfig
from fnn_jax.twin.inputs import FRAMES_PER_CHECK, check_inputs

CONFIG = NetworkConfig.microns(3)
VIDEO = np.zeros((5, 144, 256), np.uint8)
EYE = np.zeros((5, 2), np.float32)


def nan_at(*frames, shape=(5, 2)):
    trace = np.zeros(shape, np.float32)
    trace[list(frames)] = np.nan
    return trace


BAD = {
    "int64 pixels": (
        (VIDEO.astype(np.int64),),
        TypeError,
        "stimuli has the dtype int64; expected uint8, or floats in [0, 1]. Where its values run from 0 to 255: stimuli.astype(np.uint8)",
    ),
    "bool pixels": ((VIDEO.astype(bool),), TypeError, "stimuli has the dtype bool"),
    "floats to 255": (
        (VIDEO + np.float32(255),),
        ValueError,
        "stimuli holds the value 255.0 in frame 0; floats are expected to be in [0, 1]. Where its values run from 0 to 255: stimuli / 255",
    ),
    "negative floats": ((VIDEO - np.float32(0.1),), ValueError, "the value -0.1 in frame 0"),
    "floats slightly above 1": (
        (VIDEO + np.float32(1.0000001),),
        ValueError,
        "stimuli holds the value 1.0000001 in frame 0; floats are expected to be in [0, 1]. Where that comes from resizing: np.clip",
    ),
    "NaN pixels": ((nan_at(3, shape=VIDEO.shape),), ValueError, "the value nan in frame 3"),
    "a frame without time": (
        (VIDEO[0],),
        ValueError,
        "stimuli has the shape [144, 256]; expected [T, 144, 256], [T, 144, 256, 1] or [T, N, 144, 256, 1]; one frame needs a time axis: stimuli[None]",
    ),
    "a frame with channel, without time": (
        (VIDEO[0][..., None],),
        ValueError,
        "It looks like one frame without a time axis: use stimuli[None]",
    ),
    "a batch without channel": (
        (VIDEO[:, None],),
        ValueError,
        "It looks like a batch without a channel axis: use stimuli[..., None]",
    ),
    "six axes": ((VIDEO[None, None, None],), ValueError, "stimuli has the shape [1, 1, 1, 5, 144, 256]"),
    "another frame size": (
        (np.zeros((5, 36, 64), np.uint8),),
        ValueError,
        "Frames of 36 x 64 are not read: resize them first",
    ),
    "width before height": ((VIDEO.transpose(0, 2, 1),), ValueError, "Height comes before width"),
    "colour": (
        (np.zeros((5, 144, 256, 3), np.uint8),),
        ValueError,
        "The network reads 1 channel: convert colour to gray first",
    ),
    "no frames": ((VIDEO[:0],), ValueError, "stimuli has the shape [0, 144, 256]; expected"),
    "no videos": ((np.zeros((5, 0, 144, 256, 1), np.uint8),), ValueError, "with at least one frame and one video"),
    "frames of unequal shape": (([VIDEO[0], VIDEO[0, 1:]],), ValueError, "stimuli cannot be read as one array"),
    "not numbers": ((["black", "white"],), ValueError, "stimuli has the shape [2]"),
    "objects": ((np.array([None, None]),), TypeError, "stimuli holds Python objects"),
    "a short eye trace": (
        (VIDEO, EYE[:4]),
        ValueError,
        "perspectives has 4 frames and stimuli has 5; expected one row per frame of the stimulus. Cut or resample one of them",
    ),
    "a long behaviour trace": (
        (VIDEO, EYE, np.zeros((6, 2))),
        ValueError,
        "modulations has 6 frames and stimuli has 5",
    ),
    "NaN eye positions": (
        (VIDEO, nan_at(1, 3)),
        ValueError,
        "perspectives is NaN or infinite in 2 of 5 frames (1, 3). Leave these frames out, interpolate them, or set them to 0",
    ),
    "infinite behaviour": (
        (VIDEO, None, np.full((5, 2), np.inf)),
        ValueError,
        "modulations is NaN or infinite in 5 of 5 frames (0, 1, 2, 3, 4)",
    ),
    "three eye features": (
        (VIDEO, np.zeros((5, 3))),
        ValueError,
        "perspectives has the shape [5, 3]; expected [T, 2] or [T, N, 2]: 2 features in the last axis",
    ),
    "a flat trace": ((VIDEO, np.zeros(5)), ValueError, "perspectives has the shape [5]; expected [T, 2] or [T, N, 2]"),
    "an empty trace batch": ((VIDEO, np.zeros((5, 0, 2))), ValueError, "with at least one trace"),
    "a trace of words": ((VIDEO, np.full((5, 2), "a")), TypeError, "perspectives has the dtype <U1; expected floats"),
    "batch sizes": (
        (np.zeros((5, 2, 144, 256, 1), np.uint8), np.zeros((5, 3, 2))),
        ValueError,
        "The batch sizes differ: stimuli 2, perspectives 3. Expected the same number in each, or 1",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    arguments, error, message = BAD[name]
    arguments = (*arguments, None, None)[:3]
    with pytest.raises(error, match=re.escape(message)):
        check_inputs(*arguments, CONFIG)


def test_many_bad_frames_are_counted_not_listed():
    with pytest.raises(ValueError, match=re.escape("in 50 of 60 frames (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...)")):
        check_inputs(np.zeros((60, 144, 256), np.uint8), nan_at(*range(50), shape=(60, 2)), None, CONFIG)


def test_a_bad_pixel_late_in_a_long_video_is_named():
    config = NetworkConfig.tiny(1)
    video = np.zeros((FRAMES_PER_CHECK + 9, 18, 32), np.float32)
    video[FRAMES_PER_CHECK + 4, 3, 3] = 1.5
    with pytest.raises(ValueError, match=f"the value 1.5 in frame {FRAMES_PER_CHECK + 4}"):
        check_inputs(video, None, None, config)


@pytest.mark.parametrize(
    ("stimuli", "batch", "is_batch"),
    [
        (VIDEO, 1, False),
        (VIDEO[..., None], 1, False),
        (list(VIDEO), 1, False),
        ((frame for frame in VIDEO), 1, False),
        (jnp.asarray(VIDEO), 1, False),
        (VIDEO / 255, 1, False),
        ((VIDEO / 255).astype(np.float16), 1, False),
        (np.zeros((5, 3, 144, 256, 1), np.uint8), 3, True),
        (np.zeros((5, 1, 144, 256, 1), np.uint8), 1, True),
    ],
)
def test_forms_that_are_read(stimuli, batch, is_batch):
    checked = check_inputs(stimuli, EYE, None, CONFIG)
    assert (checked.frames, checked.batch, checked.is_batch) == (5, batch, is_batch)
    stimulus, eye, behaviour = checked.chunk(3, 5, 4, CONFIG, np.float32)
    assert stimulus.shape == (4, batch, 144, 256, 1) and eye.shape == behaviour.shape == (4, batch, 2)
    assert stimulus.dtype in (np.uint8, np.float32) and eye.dtype == np.float32


def test_either_side_is_broadcast():
    assert check_inputs(VIDEO, np.zeros((5, 4, 2)), EYE, CONFIG).batch == 4
    assert check_inputs(np.zeros((5, 4, 144, 256, 1), np.uint8), EYE, np.zeros((5, 1, 2)), CONFIG).batch == 4
