"""Receptive fields: from dots, from noise, and from the gradient of the model itself; and how well a Gaussian fits."""

import functools
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from fnn_jax.common.progress import checked_progress, progress_bar
from fnn_jax.physiology.least_squares import least_squares
from fnn_jax.stimuli.display import Display
from fnn_jax.stimuli.dots import gaussian_mask
from fnn_jax.twin.gradients import runs_in_threads
from fnn_jax.twin.inputs import check_inputs
from fnn_jax.twin.twin import Twin


def spike_triggered_average(responses: Any, masks: Any) -> np.ndarray:
    """``sum_k mask_k r_k / sum_k mask_k`` of each pixel, over presentations k; ``[unit, height, width]``.

    Args:
        responses: ``[presentation, unit]``. masks: what each presentation covered, ``[presentation, height, width]``,
            not negative.

    Pixels that nothing covered are NaN, and so are units with a NaN response.
    """
    responses, masks = np.asarray(responses), np.asarray(masks)
    if masks.ndim != 3 or responses.ndim != 2 or len(masks) != len(responses):
        raise ValueError(
            f"responses has the shape {list(responses.shape)} and masks {list(masks.shape)}; expected [presentation, "
            "unit] and [presentation, height, width]."
        )
    if not (masks >= 0).all():
        raise ValueError("masks has values below 0 or NaN; expected what each presentation covered, its sign left out.")
    flat = masks.reshape(len(masks), -1)
    covered = flat.sum(0)
    total = responses.T @ flat
    average = np.where(covered > 1e-6 * max(covered.max(), 1e-300), total, np.nan) / np.maximum(covered, 1e-300)
    return average.reshape(-1, *masks.shape[1:])


def dot_masks(display: Display, conditions: pd.DataFrame) -> np.ndarray:
    """What each dot of a table with ``x``, ``y`` and ``sigma`` covers, ``[dot, height, width]``, float32."""
    masks: dict[Any, np.ndarray] = {}
    keys = list(conditions[["x", "y", "sigma"]].itertuples(index=False, name=None))
    for key in keys:
        if key not in masks:
            masks[key] = gaussian_mask(display, *key).astype(np.float32)
    return np.stack([masks[key] for key in keys])


def dot_receptive_fields(responses: Any, conditions: pd.DataFrame, display: Display) -> dict[str, np.ndarray]:
    """STAs of bright dots (``on``), dark ones (``off``) and of all (``both``), each ``[unit, height, width]``.

    Args:
        responses: ``[presentation, unit]``. conditions: the intervals of ``stimuli.gaussian_dots``.
    """
    responses = np.asarray(responses)
    masks = dot_masks(display, conditions)
    sign = conditions["sign"].to_numpy()
    fields = {}
    for name, chosen in (("on", sign > 0), ("off", sign < 0), ("both", np.ones(len(sign), bool))):
        if chosen.any():
            fields[name] = spike_triggered_average(responses[chosen], masks[chosen])
    return fields


def spatial_spread_index(fields: Any) -> np.ndarray:
    """SSI: ``-log det`` of the covariance of position, weighted by a field ``[unit, height, width]``; large for small
    ones.

    Positions are in units of the longer side of the image. NaN where a field is nowhere positive; negative and unknown
    pixels weigh nothing.
    """
    fields = np.asarray(fields)
    height, width = fields.shape[-2:]
    y, x = np.mgrid[:height, :width] / max(height, width)
    weight = np.maximum(np.nan_to_num(fields, nan=0.0), 0).reshape(-1, height * width).astype(float)
    total = weight.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = weight / total[:, None]
        powers = np.stack([x.ravel(), y.ravel(), x.ravel() ** 2, y.ravel() ** 2, (x * y).ravel()], axis=1)
        mean_x, mean_y, xx, yy, xy = (weight @ powers).T
        determinant = (xx - mean_x**2) * (yy - mean_y**2) - (xy - mean_x * mean_y) ** 2
        # Below what rounding leaves of one pixel there is no covariance.
        index = -np.log(np.where(determinant > 1e-16, determinant, np.nan))
    return index.reshape(fields.shape[:-2])


def noise_receptive_fields(
    movies: Iterable[tuple[Any, Any]],
    *,
    lags: int = 9,
    block: int = 1,
    burn_in: int = 10,
) -> np.ndarray:
    """Response-weighted mean of the preceding frames, less the mean frame, ``[unit, lag, height, width]``.

    Lag 0 is the frame of the response itself, lag 1 the one before. Pixels count from -1 (black) to 1 (white). For
    white noise it is proportional to the linear filter of a unit. Movies are read one after the other.

    Args:
        movies: pairs of frames ``[T, height, width]`` (or a ``Movie``) and responses ``[T, unit]``.
        lags: how many.
        block: pixels that are averaged, on each side; the size of a check, or a part of it, saves memory.
        burn_in: frames at the start of each movie whose responses do not count.

    Raises:
        ValueError: movies too short, of unequal sizes, or none.
    """
    total = mean_frame = weight = None
    count = 0
    for movie, responses in movies:
        frames = np.asarray(getattr(movie, "frames", movie))
        responses = np.asarray(responses, float)
        if len(frames) != len(responses) or frames.ndim != 3:
            raise ValueError(
                f"a movie has the shape {list(frames.shape)} and its responses {list(responses.shape)}; expected "
                "[T, height, width] and [T, unit]."
            )
        first = max(burn_in, lags - 1)
        if len(frames) <= first:
            raise ValueError(f"a movie has {len(frames)} frames; expected more than {first}, burn-in and lags.")
        levels = np.float32(2) * _in_blocks(frames, block) - 1
        pixels = levels.reshape(len(levels), -1)
        valid = responses[first:]
        windows = np.stack([pixels[first - lag : len(pixels) - lag] for lag in range(lags)])
        weighted = np.stack([valid.T @ window for window in windows], axis=1)
        sums = windows.sum(1, dtype=np.float64)
        if total is None:
            total, mean_frame, weight, shape = weighted, sums, valid.sum(0), levels.shape[1:]
        else:
            total, mean_frame, weight = total + weighted, mean_frame + sums, weight + valid.sum(0)
        count += len(valid)
    if total is None:
        raise ValueError("movies holds none; expected at least one.")
    with np.errstate(invalid="ignore", divide="ignore"):
        average = total / weight[:, None, None] - mean_frame / count
    return average.reshape(*average.shape[:2], *shape)


def _in_blocks(frames: np.ndarray, block: int) -> np.ndarray:
    """Mean levels in [0, 1] of blocks of pixels; what is left over at the right and bottom is a smaller block."""
    levels = frames.astype(np.float32) / np.float32(255) if frames.dtype == np.uint8 else frames.astype(np.float32)
    if block == 1:
        return levels
    for axis in (1, 2):
        edges = np.arange(0, levels.shape[axis], block)
        sizes = np.diff([*edges, levels.shape[axis]]).astype(np.float32)
        levels = np.add.reduceat(levels, edges, axis=axis) / sizes.reshape([-1 if i == axis else 1 for i in range(3)])
    return levels


def gradient_receptive_fields(
    twin: Twin,
    units: Sequence[int] | None = None,
    *,
    stimulus: Any = None,
    num_frames: int = 12,
    at: int = -1,
    perspectives: Any = None,
    modulations: Any = None,
    progress: bool | None = None,
) -> np.ndarray:
    """Gradient of each unit's response with respect to the pixels: the receptive field around a stimulus.

    Args:
        units: ``readout_id`` of the units; default all. Each takes a backward pass.
        stimulus: ``[T, height, width]`` around which it is taken; default ``num_frames`` of mid-gray.
        at: the frame whose response is meant.
        perspectives, modulations: as for ``Twin.predict``.
        progress: show a progress bar; None: in terminals and notebooks.

    Returns:
        ``[unit, T, height, width]``: change of the response by change of a pixel from 0 to 1.
    """
    progress = checked_progress(progress)
    if stimulus is None:
        if num_frames < 1:
            raise ValueError(f"num_frames is {num_frames}; expected at least 1.")
        stimulus = np.full((num_frames, twin.config.stimulus_height, twin.config.stimulus_width), 0.5, np.float32)
    stimulus = np.asarray(stimulus)
    if stimulus.dtype == np.uint8:
        stimulus = stimulus.astype(np.float32) / np.float32(255)
    if not -len(stimulus) <= at < len(stimulus):
        raise ValueError(f"at is {at}; expected a frame of the {len(stimulus)} of the stimulus.")
    chosen = twin if units is None else twin.select(units)
    check_inputs(stimulus, perspectives, modulations, twin.config)
    eye, behaviour = (None if trace is None else jnp.asarray(trace) for trace in (perspectives, modulations))

    responses, back = _way_back(chosen, jnp.asarray(stimulus), eye, behaviour, at % len(stimulus))
    fields = np.empty((chosen.num_units, *stimulus.shape[:3]), np.float32)
    for unit in progress_bar(progress, "gradients", "unit", over=range(chosen.num_units), compiles=True):
        (found,) = back(jnp.zeros_like(responses).at[unit].set(1))
        fields[unit] = np.asarray(found).reshape(stimulus.shape[:3])
    return fields


def _way_back(twin, video, perspectives, modulations, frame):
    """Responses to a frame, ``[U]``, and the function from a gradient on them to that on the pixels: the way forward is
    gone once.
    """
    if runs_in_threads(twin.network):
        return jax.vjp(lambda pixels: twin.rollout(pixels, perspectives, modulations)[frame], video)
    responses, back = _compiled_vjp(twin, video, perspectives, modulations, frame)
    return responses, functools.partial(_back, back)


@jax.jit
def _compiled_vjp(twin, video, perspectives, modulations, frame):
    return jax.vjp(lambda pixels: twin.rollout(pixels, perspectives, modulations)[frame], video)


@jax.jit
def _back(way_back, gradient):
    return way_back(gradient)


def fit_gaussians(fields: Any, display: Display | None = None) -> pd.DataFrame:
    """A two-dimensional Gaussian, turned as it likes, on a constant, fitted to each field ``[unit, height, width]``.

    Fields of either sign are fitted: ``amplitude`` is negative for those that are dark. NaN pixels are left out.

    Args:
        display: of the fields' pixels, for positions and sizes in its unit; default pixels. The Gaussian is one in its
            coordinates ``along`` right and up from the field's peak, so sizes are visual angles where the field is.

    Returns:
        A row for each unit: ``x``, ``y`` (from the centre of the image, y upwards), ``sigma_major``, ``sigma_minor``,
        ``angle_deg`` of the major axis (0 horizontal, counter-clockwise, below 180), ``amplitude``, ``offset``; ``r2``,
        the part of the field's variance that the Gaussian explains; ``fit``: ``"good"``, ``"poor"`` (r2 below 0.5),
        ``"at bound"`` (a centre outside the image, or larger than it), ``"not converged"`` or ``"undefined"`` (constant
        or all NaN: NaN).
    """
    fields = np.asarray(fields, float)
    if fields.ndim != 3 or min(fields.shape[1:]) < 3:
        raise ValueError(f"fields has the shape {list(fields.shape)}; expected [unit, height, width], at least 3 x 3.")
    count, height, width = fields.shape
    display = Display.in_pixels(height, width) if display is None else display
    if (display.height, display.width) != (height, width):
        raise ValueError(
            f"fields has {height} x {width} pixels and display {display.height} x {display.width}; expected the same."
        )
    flat = fields.reshape(count, -1)
    known = np.isfinite(flat)
    filled = np.where(known, flat, 0)
    number = np.maximum(known.sum(1), 1)
    mean = filled.sum(1) / number
    variance = (np.where(known, filled - mean[:, None], 0) ** 2).sum(1)
    units = np.flatnonzero((known.sum(1) > 7) & (variance > 1e-24 * np.maximum((filled**2).sum(1), 1e-300)))
    table = pd.DataFrame(
        np.nan,
        index=range(count),
        columns=["x", "y", "sigma_major", "sigma_minor", "angle_deg", "amplitude", "offset", "r2"],
    )
    table["fit"] = pd.Series("undefined", index=table.index).astype(object)
    for start in range(0, len(units), BLOCK):  # bounds the memory: derivatives are 7 numbers a pixel
        rows = units[start : start + BLOCK]
        values, fit = _fit_block(filled[rows], known[rows], variance[rows], display)
        table.loc[rows, [*values]] = np.stack(list(values.values()), axis=1)
        table.loc[rows, "fit"] = fit
    return table


BLOCK = 64
GOOD_R2 = 0.5


def _fit_block(fields, known, variance, display):
    scale = np.sqrt(variance / known.sum(1))
    median = np.array([np.median(field[ok]) for field, ok in zip(fields, known, strict=True)])
    centred = np.where(known, fields - median[:, None], 0) / scale[:, None]
    peak = np.abs(centred).argmax(1)
    amplitude = centred[np.arange(len(fields)), peak]
    at = display.positions(*np.divmod(peak, display.width))
    x, y = (
        np.stack([display.along(turn, point).ravel() for point in zip(*at, strict=True)]) for turn in (0, 90)
    )  # from each peak
    # Its size from the area that is above half of the peak.
    pixel, largest = display.unit_per_pixel, max(display.extent)
    area = (centred * np.sign(amplitude)[:, None] > np.abs(amplitude)[:, None] / 2).sum(1)
    sigma = np.clip(np.sqrt(area / (2 * np.pi * np.log(2))) * pixel, 0.7 * pixel, largest)

    # The Gaussian is exp(-q / 2), q = |L (p - centre)|^2 with L lower triangular: positive whatever its elements are.
    zeros = np.zeros(len(fields))
    start = np.stack([zeros, zeros, 1 / sigma, zeros, 1 / sigma, amplitude, zeros], axis=1)
    least, most = np.full(len(fields), 1 / largest), np.full(len(fields), 4 / pixel)
    unbound = np.full(len(fields), np.inf)
    lower = np.stack([x.min(1), y.min(1), least, -most, least, -unbound, -unbound], axis=1)
    upper = np.stack([x.max(1), y.max(1), most, most, most, unbound, unbound], axis=1)

    def residuals(parameters, problems):
        center_x, center_y, a, b, c, height_, offset = (column[:, None] for column in parameters.T)
        dx, dy = x[problems] - center_x, y[problems] - center_y
        u, v = a * dx, b * dx + c * dy
        shape = np.exp(-(u**2 + v**2) / 2)
        down = -height_ * shape
        derivatives = [-down * (u * a + v * b), -down * v * c, down * u * dx, down * v * dx, down * v * dy, shape]
        derivatives.append(np.ones_like(shape))
        counts = known[problems]
        return (height_ * shape + offset - centred[problems]) * counts, np.stack(derivatives, -1) * counts[..., None]

    solution = least_squares(residuals, start, lower, upper, tolerance=1e-8, max_steps=100)
    center_x, center_y, a, b, c, amplitude, offset = solution.parameters.T
    factor = np.zeros((len(fields), 2, 2))
    factor[:, 0, 0], factor[:, 1, 0], factor[:, 1, 1] = a, b, c
    values, vectors = np.linalg.eigh(factor.transpose(0, 2, 1) @ factor)  # ascending: the major axis first
    major, minor = 1 / np.sqrt(values.T)
    angle = np.rad2deg(np.arctan2(vectors[:, 1, 0], vectors[:, 0, 0])) % 180
    r2 = 1 - solution.cost / (variance / scale**2)
    ends = np.stack([x.min(1), x.max(1), y.min(1), y.max(1)])
    centre = np.stack([center_x, center_x, center_y, center_y])
    outside = (np.abs(centre - ends) < 1e-3 * pixel).any(0) | (major > 0.999 * largest)
    fit = np.select([outside, ~solution.converged, r2 < GOOD_R2], ["at bound", "not converged", "poor"], "good")
    table = {
        **dict(zip("xy", display.position_beside(at, center_x, center_y), strict=True)),
        "sigma_major": major,
        "sigma_minor": minor,
        "angle_deg": angle,
        "amplitude": amplitude * scale,
        "offset": offset * scale + median,
        "r2": r2,
    }
    return table, fit
