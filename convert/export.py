"""The way back: a twin as a file that the released package loads."""

import os
import re
from pathlib import Path

from fnn_jax.common.files import refuse_existing, whole_directory
from fnn_jax.convert.conversion import to_state_dict, write_published_scan
from fnn_jax.convert.published import write_state_dict
from fnn_jax.model.config import NetworkConfig
from fnn_jax.model.parameters import parameter_arrays
from fnn_jax.twin.twin import Twin
from fnn_jax.weights.units import KEY

PUBLISHED = re.compile(r"params_(core|\d+_\d+)\.pt|scans\.csv|units\.csv")


def export(twin: Twin, destination: str | os.PathLike, *, overwrite: bool = False) -> None:
    """Write a twin for the released package.

    Args:
        twin: any twin; of a selection of units, a network of these units is written.
        destination: a name that ends in ``.pt`` becomes one state dict with all keys, for
            ``fnn.microns.load_network_from_params``; any other name a folder in the published layout, for
            ``fnn.microns.scan(..., directory=)``.
        overwrite: replace what is there; a folder only if it holds nothing but files in the published layout.

    Raises:
        FileExistsError: the destination exists.
        ValueError: a folder is wanted, and the table of units does not say session, scan_idx and unit_id of all units
            of one scan.
    """
    destination = Path(destination).expanduser().absolute()
    parameters = parameter_arrays(twin.network)
    if destination.suffix.lower() in (".pt", ".pth"):
        if destination.is_dir():
            raise FileExistsError(f"{destination} is a folder. Choose another name.")
        refuse_existing(destination, overwrite)
        write_state_dict(destination, to_state_dict(twin.config, parameters))
        return
    missing = [column for column in KEY if column not in twin.units]
    if missing:
        raise ValueError(
            f"{destination} is to be a folder in the published layout, but the twin's table of units lacks {missing}. "
            "Give a name that ends in .pt."
        )
    if len(twin.units[["session", "scan_idx"]].drop_duplicates()) != 1:
        raise ValueError(f"{destination} is to be a folder in the published layout; the units must be of one scan.")
    if twin.units.index.tolist() != list(range(twin.num_units)):
        raise ValueError(
            f"{destination} is to be a folder in the published layout, but the twin is a selection of units, which it "
            "does not hold. Give a name that ends in .pt, and keep twin.units."
        )
    if destination.is_dir():
        others = {path.name for path in destination.iterdir() if not PUBLISHED.fullmatch(path.name)}
        if others:
            raise FileExistsError(
                f"{destination} holds other things than published files, such as {min(others)}, and is kept. "
                "Choose another name."
            )
    with whole_directory(destination, overwrite) as temporary:
        write_published_scan(temporary, twin.config, parameters, twin.units)


def released_network(twin: Twin):
    """The twin as a network of the released package, in inference mode on the CPU.

    Raises:
        ImportError: that package, or PyTorch, is not importable.
        ValueError: the twin has another architecture than the published one.
    """
    import torch
    from fnn.microns.build import network

    if twin.config != NetworkConfig.microns(twin.num_units):
        raise ValueError(f"{twin} has another architecture than the published one.")
    model = network(twin.num_units)
    state = to_state_dict(twin.config, parameter_arrays(twin.network))
    model.load_state_dict({key: torch.from_numpy(value.copy()) for key, value in state.items()})
    return model


def released_package_is_there() -> bool:
    """Whether the released package, and all that it needs, can be imported."""
    try:
        import fnn.microns.build  # noqa: F401
    except ImportError:
        return False
    return True
