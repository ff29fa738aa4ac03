"""The stimuli of visual physiology, at 30 Hz, through the model's own monitor.

>>> from fnn_jax import stimuli
>>> display = stimuli.Display.of(twin)
>>> frames, intervals = stimuli.gratings(display, spatial_frequencies=[0.04])
>>> responses = twin.predict(frames)
"""

from fnn_jax.stimuli.display import Display, FlatDisplay, SphericalDisplay
from fnn_jax.stimuli.dots import dot_kinematogram, gaussian_dots, gaussian_mask, grid_positions
from fnn_jax.stimuli.gratings import aperture, center_surround, gabor, gabors, grating, gratings, plaid
from fnn_jax.stimuli.monet import monet2, trippy
from fnn_jax.stimuli.movie import Movie, as_levels, concatenate, frame_spans, one_after_another, save_movie
from fnn_jax.stimuli.natural import frame_list, images, video
from fnn_jax.stimuli.noise import pink_noise, sparse_noise, white_noise
from fnn_jax.stimuli.sheet import contact_sheet
from fnn_jax.stimuli.simple import blank, chirp, flashes, looming_discs, moving_bars

__all__ = [
    "Display",
    "FlatDisplay",
    "Movie",
    "SphericalDisplay",
    "aperture",
    "as_levels",
    "blank",
    "center_surround",
    "chirp",
    "concatenate",
    "contact_sheet",
    "dot_kinematogram",
    "flashes",
    "frame_list",
    "frame_spans",
    "gabor",
    "gabors",
    "gaussian_dots",
    "gaussian_mask",
    "grating",
    "gratings",
    "grid_positions",
    "images",
    "looming_discs",
    "monet2",
    "moving_bars",
    "one_after_another",
    "pink_noise",
    "plaid",
    "save_movie",
    "sparse_noise",
    "trippy",
    "video",
    "white_noise",
]
