"""Predictions and features as xarray objects, with the names of axes and units that screens have.

>>> responses = labelled.predict(twin, video)  # [time, unit]
>>> responses.sel(time=slice(1, 2), unit=[3, 17])
"""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from fnn_jax.common.checks import shown
from fnn_jax.common.rate import HZ
from fnn_jax.screen.results import RESPONSES, unit_columns
from fnn_jax.screen.values import checked_values
from fnn_jax.twin.twin import Twin
from fnn_jax.version import versions

if TYPE_CHECKING:
    import xarray

__all__ = ["features", "predict"]

VIDEO = ("time", "height", "width", "channel")
BATCH = "stimulus"  # as screens call it


def predict(
    twin: Twin, stimuli: Any, perspectives: Any = None, modulations: Any = None, **options: Any
) -> "xarray.DataArray":
    """``twin.predict`` with the names of axes and units.

    Args:
        stimuli: as for ``Twin.predict``; or an ``xarray.DataArray`` with the axes ``time``, ``height``, ``width`` and,
            if it has them, ``channel`` and, for a batch, ``stimulus``, in any order. A coordinate ``time`` is in
            seconds, in steps of 1/30, and stays. With ``start=``, the axes that ``features`` names.
        perspectives, modulations: likewise, with ``time``, ``stimulus`` for a batch, and one more axis.
        options: as for ``Twin.predict``, but for ``output``.

    Returns:
        ``responses``, ``[time, unit]``, or ``[time, stimulus, unit]`` for a batch. Coordinates: ``time`` in seconds
        from the first frame on, ``unit``, the ``readout_id``, and along it ``scan`` and the columns of ``twin.units``.
        Attributes, all of them text, say what computed them.

    Raises:
        TypeError, ValueError: as ``Twin.predict``; axes of other names, other steps of time, traces of other times or
            other stimuli.
    """
    import xarray

    inputs, coordinates = _inputs(twin, (stimuli, perspectives, modulations), options)
    found = twin.predict(*inputs, **options)
    axes = ("time", BATCH, "unit") if found.ndim == 3 else ("time", "unit")
    coordinates |= _unit_coordinates(twin)
    here = {name: value for name, value in coordinates.items() if value[0] in axes}
    return xarray.DataArray(found, here, axes, RESPONSES, _attributes(twin, options))


def features(
    twin: Twin,
    stimuli: Any,
    names: Sequence[str] | str,
    perspectives: Any = None,
    modulations: Any = None,
    **options: Any,
) -> "xarray.Dataset":
    """``twin.features`` with the names of axes and units.

    Inputs as for ``predict``, names as for ``Twin.features``.

    Returns:
        A value of each name, ``[time, (stimulus,) stream, ...]``, with the axes of a screen's features, such as
        ``core_row``, ``core_column`` and ``core_channel``; those of units have the coordinates of ``predict``.

    Raises:
        TypeError, ValueError: as ``Twin.features`` and ``predict``.
    """
    import xarray

    inputs, coordinates = _inputs(twin, (stimuli, perspectives, modulations), options)
    found = twin.features(inputs[0], names, *inputs[1:], **options)
    stream = options.get("stream")
    values = checked_values([twin], list(found), False, None, stream).values
    arrays = {}
    for value in values:
        array = found[value.name]
        batch = (BATCH,) if array.ndim == len(value.axes) + 2 else ()
        arrays[value.name] = (("time", *batch, *value.axes), array)
    coordinates |= _unit_coordinates(twin)
    coordinates["stream"] = ("stream", np.arange(twin.config.num_streams) if stream is None else np.array([stream]))
    axes = {axis for dims, _ in arrays.values() for axis in dims}
    here = {name: value for name, value in coordinates.items() if value[0] in axes}
    return xarray.Dataset(arrays, here, _attributes(twin, options))


def plain(argument: str, array: Any, axes: Sequence[str | None]) -> Any:
    """An array without names: of an ``xarray.DataArray``, its axes in this order; everything else as it is.

    One axis may be None: of any other name. An axis ``stimulus`` comes behind the first where there is one.

    Raises:
        ValueError: it has other axes.
    """
    if not _is_labelled(array):
        return array
    batch = (BATCH,) if BATCH in array.dims else ()
    wanted: list[Any] = [axes[0], *batch, *axes[1:]]
    others = [name for name in array.dims if name not in wanted]
    if None in wanted and len(others) == 1:
        wanted[wanted.index(None)] = others[0]
    if sorted(map(str, wanted)) != sorted(map(str, array.dims)):
        expected = ", ".join("one more" if name is None else name for name in axes)
        raise ValueError(
            f"{argument} has the axes {shown(list(array.dims))}; expected {expected}, and {BATCH} for a batch, in any "
            "order. Rename them: array.rename(old='new')."
        )
    _require_rate(argument, array)
    return array.transpose(*wanted).to_numpy()


def plain_video(argument: str, video: Any) -> Any:
    """The same of a video, whose ``channel`` may be missing.

    Raises:
        ValueError: it has other axes.
    """
    if not _is_labelled(video):
        return video
    if "channel" in video.dims:
        return plain(argument, video, VIDEO)
    return plain(argument, video, VIDEO[:-1])[..., None]


def _is_labelled(array: Any) -> bool:
    if array is None or isinstance(array, np.ndarray | jax.Array):
        return False  # without loading xarray
    import xarray

    if isinstance(array, xarray.Dataset):
        raise TypeError("An xarray.Dataset was given, expected a DataArray, such as dataset['frames'].")
    return isinstance(array, xarray.DataArray)


def _require_rate(argument: str, array: Any) -> None:
    if "time" not in array.coords:
        return
    times = array.coords["time"].to_numpy()
    good = times.ndim == 1 and times.dtype.kind in "iuf" and np.isfinite(times).all()
    if not good or (np.abs(np.diff(times) - 1 / HZ) > 0.01 / HZ).any():
        raise ValueError(
            f"{argument} has the coordinate time {shown(times[:3].tolist())}, ...; expected seconds in steps of "
            f"1/{HZ}. Resample it, or, where frames are at {HZ} Hz, leave the coordinate out: array.drop_vars('time')."
        )


def _inputs(twin: Twin, arrays: Sequence[Any], options: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Stimuli and traces without names, and the coordinates of what is computed of them."""
    if not isinstance(twin, Twin):
        raise TypeError(f"twin is {type(twin).__name__}; expected Twin, such as microns.scan(8, 5)[0].")
    if "output" in options:
        raise TypeError("output was given; expected none: what is returned is an xarray object.")
    names = ("stimuli", "perspectives", "modulations")
    start = options.get("start", "stimulus")
    if start == "stimulus" or not _is_labelled(arrays[0]):
        stimuli = plain_video(names[0], arrays[0])
    else:
        (value,) = checked_values([twin], [start], False, None, options.get("stream")).values
        stimuli = plain(names[0], arrays[0], ("time", *value.axes))
    found = [stimuli, *(plain(name, array, ("time", None)) for name, array in zip(names[1:], arrays[1:], strict=True))]
    coordinates: dict[str, Any] = {"time": ("time", np.arange(len(found[0])) / HZ, {"units": "s"})}
    named = dict(zip(names, arrays, strict=True))
    if (times := shared("time", named)) is not None:
        coordinates["time"] = ("time", times, {"units": "s"})
    if (stimuli := shared(BATCH, named)) is not None:
        coordinates[BATCH] = (BATCH, stimuli)
    return found, coordinates


def shared(axis: str, arrays: Mapping[str, Any]) -> np.ndarray | None:
    """The coordinate that arrays have along an axis, those that have one: the same in all. None: none has one.

    Raises:
        ValueError: two have others, such as the same in another order. Their lengths are not compared.
    """
    labels = {
        name: array.coords[axis].to_numpy()
        for name, array in arrays.items()
        if _is_labelled(array) and axis in array.dims and axis in array.coords
    }
    for name, values in labels.items():
        first, wanted = next(iter(labels.items()))
        if len(values) != len(wanted):
            continue
        same = values == wanted if axis != "time" else np.abs(values - wanted) <= 0.01 / HZ
        if not np.all(same):
            row = int(np.argmin(same))
            raise ValueError(
                f"{first} and {name} have other coordinates {axis}: {wanted[row]} and {values[row]} in place {row}; "
                f"expected the same in each, in one order. Align them, or leave one out: array.drop_vars('{axis}')."
            )
    return next(iter(labels.values()), None)


def _unit_coordinates(twin: Twin) -> dict[str, Any]:
    """Those of a screen, and ``unit``, by which one selects."""
    table = twin.units.reset_index().assign(scan=twin.name)
    taken = [name for name in ("time", BATCH, "stream", "unit") if name in table]
    if taken:
        raise ValueError(f"The table of units has the columns {taken}, which are axes of the result; rename these.")
    columns = unit_columns(table[["scan", *(name for name in table if name != "scan")]])
    # Text as objects, which every format of files takes; NumPy's new type of it is known to few.
    columns = {name: array.astype(object) if array.dtype.kind == "T" else array for name, array in columns.items()}
    return {name: ("unit", array) for name, array in ({"unit": twin.units.index.to_numpy()} | columns).items()}


def _attributes(twin: Twin, options: dict[str, Any]) -> dict[str, str]:
    """What decides the numbers, as text, which every format of files keeps."""
    changes = checked_values([twin], None, True, options.get("interventions"), options.get("stream")).described
    used = {name: version for name, version in versions().items() if name != "optax"}
    attributes = {"twin": twin.name, "label": twin.label, "fingerprint": twin.fingerprint()}
    attributes |= {"provenance": json.dumps(twin.record(), sort_keys=True, default=str)}
    attributes |= {"versions": json.dumps(used), "dtype": str(twin._dtype)}
    defaults = {"periphery": "dark", "precision": "float32", "start": "stimulus"}
    attributes |= {name: str(options.get(name, default)) for name, default in defaults.items()}
    attributes["stream"] = "mean" if options.get("stream") is None else str(options["stream"])
    return attributes | ({"interventions": json.dumps(changes)} if changes else {})
