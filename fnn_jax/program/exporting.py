"""A twin as a folder that predicts without this package: ``Twin.export_program``; ``program`` is what reads it.

::

    FOLDER/
      about.json       what the twin is; inputs, outputs and state; the SHA-256 of every other file
      program.py       the loader
      programs/*       the rollout, lowered for CPUs, GPUs and TPUs, time and batch left open
      weights.npz      the parameters, weights normalised
      units.csv        the table of units

The weights are arguments of the rollouts, so they are stored once, and a rollout takes some 100 kB. There are several:

- of any number of chunks of frames, fast, and of any number of single frames, for what is left;
- for uint8 and for float32 stimuli. Half a megabyte less, and uint8 would have to be converted before: the last digit
  of the responses changes (the network reads uint8 from a table), and four times as much travels to an accelerator;
- for CPUs, GPUs and TPUs, which differ in the formulation that is fast.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax import export

from fnn_jax.common.files import file_digest, refuse_existing, whole_directory
from fnn_jax.model.chunks import CHUNK_FRAMES
from fnn_jax.model.formulation import for_platform, formulated
from fnn_jax.model.layers import fold_weight_norm
from fnn_jax.model.network import Inputs, Network
from fnn_jax.program import loading
from fnn_jax.version import __version__

if TYPE_CHECKING:
    from fnn_jax.twin.twin import Twin

PLATFORMS = {"cpu": ("cpu",), "gpu": ("cuda",), "tpu": ("tpu",)}
DTYPES = ("uint8", "float32")


def export_program(twin: "Twin", path: str | os.PathLike, *, periphery: str = "dark", overwrite: bool = False) -> Path:
    """Write a twin as a folder that predicts with JAX and NumPy alone, on CPUs, NVIDIA GPUs and TPUs.

    Args:
        twin: it is exported as it predicts, with the mean over its streams; gradients do not pass through the export.
        path: the folder to write, whole or not at all.
        periphery: what lies outside the monitor, ``"dark"`` or ``"extend"``, for good.
        overwrite: replace an earlier export at ``path``.

    Returns:
        The absolute path of the folder.

    Raises:
        FileExistsError: something is at ``path`` already; with ``overwrite``, something else than an export.
        ImportError: the package ``flatbuffers`` is not installed, which JAX writes exports with.
        TypeError: the twin's parameters are not float32.
        ValueError: a periphery that does not exist.
    """
    twin.network.check_options(None, periphery, ())
    path = Path(path).expanduser().resolve()
    _refuse_others(path, overwrite)
    rollout, weights, state = _plain_rollout(twin.network, periphery)
    with whole_directory(path, overwrite) as folder:
        programs, version = _write_programs(folder, rollout, weights, state, twin.config)
        np.savez(folder / "weights.npz", **weights)  # type: ignore[arg-type]
        twin.units.rename_axis("readout_id").to_csv(folder / "units.csv", lineterminator="\n")
        shutil.copyfile(loading.__file__, folder / "program.py")
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        about = {
            **_description(twin, periphery, state),
            "jax_version": jax.__version__,
            "calling_convention_version": version,
            "platforms": [name for names in PLATFORMS.values() for name in names],
            "programs": programs,
            "sha256": {file.relative_to(folder).as_posix(): file_digest(file) for file in files},
        }
        about["about_sha256"] = loading.about_sha256(about)
        (folder / "about.json").write_text(json.dumps(about, indent=1))
    return path


def _refuse_others(path: Path, overwrite: bool) -> None:
    refuse_existing(path, overwrite)
    if overwrite and path.exists() and not (path.is_dir() and (not any(path.iterdir()) or _is_export(path))):
        raise FileExistsError(
            f"{path} holds other things than an exported twin and is not overwritten. "
            "Choose another name, or remove it."
        )


def _is_export(path: Path) -> bool:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return json.loads((path / "about.json").read_bytes()).get("format") == loading.FORMAT
    return False


def _plain_rollout(whole: Network, periphery: str) -> tuple[Callable, dict[str, np.ndarray], dict[str, Any]]:
    """The rollout as a function of dictionaries and tuples, the trees that exports know; weights and state by name."""
    folded = jax.jit(fold_weight_norm)(whole)
    weights = _by_name(folded)
    dtypes = sorted({str(array.dtype) for array in weights.values()})
    if dtypes != ["float32"]:
        raise TypeError(f"The twin's parameters are {', '.join(dtypes)}; expected float32, which is what is exported.")
    structure: Any = jax.tree.structure(folded)
    state = whole.init_state(1)
    state_structure: Any = jax.tree.structure(state)
    names = list(weights)

    def rollout(weights, state, stimuli, perspectives, modulations, *, length):
        folded = structure.unflatten([weights[name] for name in names])

        def advance(state, inputs):
            state, output = folded.rollout(state, inputs, periphery=periphery)
            return state, output.responses

        inputs = Inputs(stimuli, perspectives, modulations)
        chunks = jax.tree.map(lambda a: a.reshape(-1, length, *a.shape[1:]), inputs)
        state, responses = jax.lax.scan(advance, state_structure.unflatten(state), chunks)
        return tuple(jax.tree.leaves(state)), responses.reshape(-1, *responses.shape[2:])

    return rollout, {name: np.asarray(array) for name, array in weights.items()}, _by_name(state)


def _by_name(tree: Any) -> dict[str, jax.Array]:
    """The leaves of a tree, in order, by their dotted paths."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    named = [(jax.tree_util.keystr(path, simple=True, separator="."), leaf) for path, leaf in leaves]
    return {name.removesuffix(".value"): leaf for name, leaf in named}


def _write_programs(
    folder: Path, rollout: Callable, weights: dict[str, np.ndarray], state: dict[str, Any], config: Any
) -> tuple[list[dict[str, Any]], int]:
    """Export the rollouts: what ``about.json`` says of them, and their calling convention."""
    (folder / "programs").mkdir()
    records = []
    count, batch = export.symbolic_shape("count, batch")
    image = (config.stimulus_height, config.stimulus_width, config.stimulus_channels)
    for family, platforms in PLATFORMS.items():
        for length in (CHUNK_FRAMES, 1):
            time = length * count
            for dtype in DTYPES:
                arguments = (
                    {name: jax.ShapeDtypeStruct(array.shape, array.dtype) for name, array in weights.items()},
                    tuple(jax.ShapeDtypeStruct((batch, *array.shape[1:]), array.dtype) for array in state.values()),
                    jax.ShapeDtypeStruct((time, batch, *image), dtype),
                    jax.ShapeDtypeStruct((time, batch, config.perspective.eye_features), "float32"),
                    jax.ShapeDtypeStruct((time, batch, config.modulation.behaviour_features), "float32"),
                )
                exported = _export(rollout, length, family, platforms, arguments)
                file = f"programs/{family}_{length}_{dtype}.bin"
                (folder / file).write_bytes(exported.serialize())
                records.append({"file": file, "platforms": list(platforms), "multiple_of": length, "stimuli": dtype})
    return records, exported.calling_convention_version


def _export(rollout: Callable, length: int, family: str, platforms: tuple[str, ...], arguments: Any) -> export.Exported:
    def function(weights, state, stimuli, perspectives, modulations):  # a new one each time: what JAX traced, it keeps
        return rollout(weights, state, stimuli, perspectives, modulations, length=length)

    with formulated(for_platform(family)), _without_paths():
        return export.export(jax.jit(function), platforms=platforms)(*arguments)


@contextlib.contextmanager
def _without_paths() -> Iterator[None]:
    """Keep the names of this machine's folders out of the export, which notes for every operation where it stood."""
    option = "jax_traceback_in_locations_limit"
    before = getattr(jax.config, option)
    jax.config.update(option, 0)
    try:
        yield
    finally:
        jax.config.update(option, before)


def _description(twin: "Twin", periphery: str, state: dict[str, Any]) -> dict[str, Any]:
    config = twin.config
    image = [config.stimulus_height, config.stimulus_width, config.stimulus_channels]

    def array(shape, dtypes, meaning):
        return {"shape": shape, "dtypes": list(dtypes), "meaning": meaning}

    return {
        "format": loading.FORMAT,
        "format_version": loading.FORMAT_VERSION,
        "written_by": f"fnn_jax {__version__}",
        "name": twin.name,
        "label": twin.label,
        "provenance": twin.record(),
        "num_units": twin.num_units,
        "periphery": periphery,
        "gradients": False,
        "arguments": ["weights by name, as in weights.npz", "state, a tuple", "stimuli", "perspectives", "modulations"],
        "results": ["state, a tuple", "responses"],
        "inputs": {
            "stimuli": array(
                ["time", "batch", *image],
                DTYPES,
                "frames at 30 Hz; gray levels, uint8 or floats in [0, 1]; height (the first row is the top) before "
                "width",
            ),
            "perspectives": array(
                ["time", "batch", config.perspective.eye_features],
                ["float32"],
                "position of the pupil (x, y), z-scored: 0 is the mean",
            ),
            "modulations": array(
                ["time", "batch", config.modulation.behaviour_features],
                ["float32"],
                "radius of the pupil and velocity on the treadmill, z-scored: 0 is the mean",
            ),
        },
        "outputs": {
            "responses": array(
                ["time", "batch", twin.num_units],
                ["float32"],
                "mean response of each unit in each frame, in the order of units.csv",
            )
        },
        "initial_state": "zeros",
        "state": [
            {"name": name, "shape": ["batch", *array.shape[1:]], "dtype": str(array.dtype)}
            for name, array in state.items()
        ],
    }
