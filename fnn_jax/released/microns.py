"""``fnn.microns`` of the released package: the published scans, as networks with the released interface.

>>> model, ids = scan(session=8, scan_idx=5)
>>> responses = model.predict(stimuli=frames)
"""

import os
import sys
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import pandas as pd

from fnn_jax import microns
from fnn_jax.microns import release
from fnn_jax.model.parameters import network_from_parameters
from fnn_jax.released.values import Values
from fnn_jax.released.visual import Visual
from fnn_jax.twin.twin import Twin
from fnn_jax.weights.units import KEY

__all__ = ["download_data", "load_network_from_params", "params", "scan", "unit_ids", "units"]
CORE_FILE = "params_core.pt"
_said: list[str] = []


def scan(
    session: int,
    scan_idx: int,
    cuda: bool = True,
    directory: str | os.PathLike | None = None,
    verbose: bool = True,
) -> tuple[Visual, pd.DataFrame]:
    """The network of a published scan, and the table of its units.

    Args:
        session, scan_idx: the scan, such as 8 and 5.
        cuda: True: compute on JAX's default device, which is a GPU where JAX sees one; False: on the CPU.
        directory: the published files, a folder of ``download_data``, or a converted folder. Default: the working
            directory where the published files are in it, else the cache of ``fnn_jax.microns``, which downloads what
            is missing.
        verbose: say once which device ``cuda=True`` means.

    Returns:
        The network, and ``session``, ``scan_idx`` and ``unit_id`` by ``readout_id``.

    Raises:
        ValueError, CheckpointError, DownloadError: see ``fnn_jax.microns.scan``.
    """
    twin, ids = microns.scan(session, scan_idx, directory=_directory(directory))
    return _placed(Visual(twin), cuda, verbose), ids[[name for name in KEY if name in ids]]


def download_data(directory: str | os.PathLike | None = None, verbose: bool = True) -> None:
    """Download the published weights, verify and convert them, into a folder, or into the cache.

    Raises:
        DownloadError: see ``fnn_jax.microns.download``, which has more choices.
    """
    microns.download(directory=directory, progress=None if verbose else False)


def load_network_from_params(path_to_params: str | os.PathLike, cuda: bool = True) -> Visual:
    """The network of one ``.pt`` file that holds all keys.

    Raises:
        CheckpointError: the file is missing or damaged, or holds other keys or shapes.
    """
    from fnn_jax.convert.conversion import from_state_dict
    from fnn_jax.convert.published import read_state_dict
    from fnn_jax.weights.checkpoint import CheckpointError

    state, name = read_state_dict(path_to_params), Path(path_to_params).name
    weights = state.get("readout.feature.weights.0")
    if weights is None or not weights.ndim:
        raise CheckpointError(f"{path_to_params} has no readout: it is no file with all keys of a network.")
    config = release.MICRONS.architecture(len(weights))
    network = network_from_parameters(config, from_state_dict(state, config, name))
    return _placed(Visual(Twin(network, name=name.removesuffix(".pt"))), cuda, True)


def params(session: int, scan_idx: int, directory: str | os.PathLike | None = None) -> dict[str, Values]:
    """The weights of a scan by their released keys."""
    return scan(session, scan_idx, directory=directory, verbose=False)[0].state_dict()


def units(session: int, scan_idx: int, directory: str | os.PathLike | None = None) -> int:
    """The number of units of a scan."""
    return len(unit_ids(session, scan_idx, directory))


def unit_ids(session: int, scan_idx: int, directory: str | os.PathLike | None = None) -> pd.DataFrame:
    """The table of a scan's units, by ``readout_id``."""
    return scan(session, scan_idx, directory=directory, verbose=False)[1]


def _directory(directory: Any) -> Any:
    """The working directory stands for no directory where the released package would have found its files there."""
    return Path.cwd() if directory is None and Path(CORE_FILE).is_file() else directory


def _placed(model: Visual, cuda: bool, verbose: bool) -> Visual:
    if not cuda:
        return model.cpu()
    device = next(iter(jnp.zeros(()).devices()))
    if verbose and "device" not in _said:
        _said.append("device")
        print(f"fnn_jax: cuda=True means JAX's default device here, {device}", file=sys.stderr)
    return model
