"""``Twin.export_onnx``: a twin as a file that onnxruntime runs, on a CPU or in a browser."""

import importlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

from fnn_jax.common import checks
from fnn_jax.common.extras import missing
from fnn_jax.common.files import refuse_existing, whole_directory, whole_file
from fnn_jax.common.rate import HZ
from fnn_jax.model.network import Network
from fnn_jax.program.onnx.graph import SMALL, Graph
from fnn_jax.program.onnx.network import network_graph
from fnn_jax.program.onnx.reading import FORMAT, FORMAT_VERSION, KEY
from fnn_jax.version import __version__

if TYPE_CHECKING:
    import onnx

    from fnn_jax.twin.twin import Twin

MODEL = "model.onnx"  # in a folder, beside its weights
WEIGHTS = "weights_{}.bin"
MOST_BYTES = 2**31 - 2**24  # of a file of ONNX, whose form counts in 31 bits; the nodes need room, too
MOST_MB = 1e6  # of a file of weights
MOST_FRAMES = 1000  # of a chunk, which has nodes of its own for each


def export_onnx(
    twin: "Twin",
    path: str | os.PathLike,
    *,
    units: Any = None,
    num_frames: int | None = None,
    periphery: str = "dark",
    stream: int | None = None,
    external_mb: float | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a twin as an ONNX model that predicts in float32, as ``predict`` does, with its state going in and out.

    Inputs of a step: ``stimuli`` uint8 ``[batch, height, width, channels]``, ``perspectives`` and ``modulations``
    float32 ``[batch, 2]``, z-scored, and the state. Outputs: ``responses`` ``[batch, units]``, mean responses per
    frame, and the new state. A chunk has an axis of time in front of all but the state: so many frames, at 30 Hz.
    docs/onnx.md has all names.

    Args:
        twin: its dropout and other random draws are of training, and not exported.
        path: the file to write, whole or not at all; it ends in ``.onnx``. With ``external_mb``, a folder.
        units: some of the units, as for ``Twin.select``; default all.
        num_frames: None for one step; or how many frames a chunk has.
        periphery: what lies outside the monitor, ``"dark"`` or ``"extend"``, for good.
        stream: one of the network's streams alone; default is the mean over their readouts.
        external_mb: keep the weights in files of at most so many megabytes (10^6 bytes) each; ``path`` is then a folder
            with ``model.onnx``, ``weights_0.bin`` and so on.
        overwrite: replace an earlier export at ``path``.

    Returns:
        The absolute path of the model.

    Raises:
        FileExistsError: something is at ``path`` already; with ``overwrite``, something else than an export.
        ImportError: the package ``onnx`` is not installed.
        TypeError, ValueError: arguments of other kinds; units that the twin does not have; a twin whose parameters are
            not float32; weights that do not fit into one file, or of which one row does not fit into a file of
            ``external_mb``.
    """
    path = _checked_path(path, external_mb is not None)
    if num_frames is not None:
        num_frames = checks.integer("num_frames", num_frames, most=MOST_FRAMES)
    twin.network.check_options(stream, periphery, ())
    external_mb = None if external_mb is None else checks.number("external_mb", external_mb, above=0, most=MOST_MB)
    overwrite = checks.boolean("overwrite", overwrite)
    _require_float32(twin.network)
    _require_package()
    chosen = twin if units is None else twin.select(units)
    _refuse_others(path, overwrite)

    network = chosen.network if stream is None else chosen.network.one_stream(stream)
    graph, described = network_graph(network, num_frames, periphery)
    if external_mb is not None:
        graph.cut_constants(external_mb)
    elif graph.weight_bytes() > MOST_BYTES:
        size = graph.weight_bytes() / 1e9
        raise ValueError(
            f"The twin's weights take {size:.1f} GB, and a file of ONNX holds {MOST_BYTES / 1e9:.1f}. Give "
            "external_mb, such as 500, or fewer units."
        )
    about = _about(twin, chosen, described, {"num_frames": num_frames, "periphery": periphery, "stream": stream})
    model = graph.model(__version__, {KEY: json.dumps(about)})
    if external_mb is None:
        return _write_file(path, model)
    return _write_folder(path, model, graph, int(external_mb * 1e6), overwrite)


def _checked_path(path: Any, is_folder: bool) -> Path:
    found = checks.path("path", path).resolve()
    is_file = found.suffix == ".onnx"
    if is_folder and is_file:
        raise ValueError(f"path is {str(path)!r}; expected the name of a folder: external_mb is given.")
    if not is_folder and not is_file:
        raise ValueError(f"path is {str(path)!r}; expected a name that ends in .onnx, or external_mb for a folder.")
    return found


def _require_float32(network: Network) -> None:
    dtypes = sorted({str(array.dtype) for array in jax.tree.leaves(network)})
    if dtypes != ["float32"]:
        raise TypeError(
            f"The twin's parameters are {', '.join(dtypes)}; expected float32, which is what is exported. "
            "Convert them: jax.tree.map(lambda array: array.astype('float32'), twin)."
        )


def _require_package() -> None:
    try:
        importlib.import_module("onnx")
    except ImportError as error:
        raise ImportError(missing("Writing ONNX", "onnx")) from error


def _refuse_others(path: Path, overwrite: bool) -> None:
    refuse_existing(path, overwrite)
    if not path.exists():
        return
    if path.is_dir():
        others = [each.name for each in path.iterdir() if each.name != MODEL and not each.match(WEIGHTS.format("*"))]
        right = path.suffix != ".onnx" and not others
    else:
        right = path.suffix == ".onnx"
    if not right:
        raise FileExistsError(
            f"{path} holds other things than an exported twin and is not overwritten. "
            "Choose another name, or remove it."
        )


def _about(twin: "Twin", chosen: "Twin", described: list[dict[str, Any]], options: dict[str, Any]) -> dict[str, Any]:
    """What is known of the model: how it is called, what its units are, and where it comes from."""
    unit_ids = {"readout_id": chosen.units.index.tolist()}
    unit_ids |= {name: chosen.units[name].tolist() for name in ("unit_id",) if name in chosen.units}

    def of(kind):
        return [
            {name: value for name, value in entry.items() if name != "kind"}
            for entry in described
            if entry["kind"] == kind
        ]

    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "written_by": f"fnn_jax {__version__}",
        "name": twin.name,
        "label": twin.label,
        "provenance": twin.record(),
        "fingerprint": twin.fingerprint(),
        "frame_rate_hz": HZ,
        "num_units": chosen.num_units,
        "unit_ids": unit_ids,
        **options,
        "inputs": of("input"),
        "outputs": of("output"),
        "initial_state": "zeros",
        "state": of("state"),
    }


def _write_file(path: Path, model: "onnx.ModelProto") -> Path:
    with whole_file(path) as file:
        file.write_bytes(model.SerializeToString())
    return path


def _write_folder(path: Path, model: "onnx.ModelProto", graph: Graph, most: int, overwrite: bool) -> Path:
    """The model without its weights, and these one after another in files of at most so many bytes."""
    from onnx import external_data_helper

    with whole_directory(path, overwrite) as folder:
        number, content = 0, bytearray()

        def write():
            (folder / WEIGHTS.format(number)).write_bytes(content)

        for tensor in model.graph.initializer:
            size = graph.constants[tensor.name].nbytes
            if size <= SMALL:
                continue
            if content and len(content) + size > most:
                write()
                number, content = number + 1, bytearray()
            location = WEIGHTS.format(number)
            external_data_helper.set_external_data(tensor, location, offset=len(content), length=size)
            content += tensor.raw_data
            tensor.ClearField("raw_data")
        write()
        (folder / MODEL).write_bytes(model.SerializeToString())
    return path / MODEL
