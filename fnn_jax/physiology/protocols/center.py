"""Where stimuli should be shown so that the units of a twin see them."""

import numpy as np

from fnn_jax.stimuli.display import Display, require_display
from fnn_jax.twin.twin import Twin


def readout_center(twin: Twin, display: Display) -> tuple[float, float]:
    """Where the units of a twin look, in the unit of a display: the median of their readout locations on the monitor.

    Units that look beyond the monitor do not count.

    Raises:
        TypeError: an argument is something else. ValueError: all units look beyond the monitor.
    """
    if not isinstance(twin, Twin):
        raise TypeError(f"twin is {type(twin).__name__}; expected Twin, such as Twin.load(folder).")
    require_display(display)
    places = twin.readout_locations(y="down")[["monitor_x", "monitor_y_down"]].to_numpy(float)
    places = places[(np.abs(places) < 1).all(1)]
    if not len(places):
        raise ValueError("every unit reads outside the monitor; give center.")
    column, row = np.median((places + 1) / 2 * [display.width, display.height] - 0.5, axis=0)
    x, y = display.positions(row, column)
    return float(x), float(y)
