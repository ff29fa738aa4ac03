"""Many stimuli through one or several twins: see ``Screen``."""

from fnn_jax.screen.results import ScreenError
from fnn_jax.screen.screen import Screen
from fnn_jax.screen.source import Stimulus
from fnn_jax.screen.store import open_screen

__all__ = ["Screen", "ScreenError", "Stimulus", "open_screen"]
