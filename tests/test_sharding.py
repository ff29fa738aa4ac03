"""Where a network lies on a mesh of devices, and what they ask of one another; the latter in ``on_eight_devices``."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest
from jax.sharding import AbstractMesh, AxisType
from jax.sharding import PartitionSpec as P
from wrong import JUNK, check

AXES = ("videos", "streams", "units")


def mesh_of(shape, axes=AXES) -> AbstractMesh:
    return AbstractMesh(shape, axes, axis_types=(AxisType.Explicit,) * len(shape))


def test_where_parameters_lie(network):
    placed = network.shardings(mesh_of((4, 2, 7)))
    assert jax.tree.structure(placed) == jax.tree.structure(network)
    assert {tuple(sharding.spec) for sharding in jax.tree.leaves(placed.perspective)} == {()}
    assert placed.readout.feature.weight.get_value().spec == P("streams", "units")
    assert placed.readout.position.spread.get_value().spec == P("units")
    for part in (placed.modulation, placed.core):
        assert {tuple(sharding.spec) for sharding in jax.tree.leaves(part)} == {("streams",)}


def test_a_wrong_mesh_is_refused(network):
    with pytest.raises(
        ValueError, match=r"mesh has the axes \('video',\); expected a mesh of devices with axes out of"
    ):
        network.shardings(mesh_of((2,), ("video",)))
    with pytest.raises(ValueError, match="mesh has 3 devices along 'units'; expected a divisor of 7"):
        network.shardings(mesh_of((2, 3), ("streams", "units")))
    with pytest.raises(ValueError, match="mesh has 4 devices along 'streams'; expected a divisor of 2"):
        network.shardings(mesh_of((4,), ("streams",)))


def test_what_is_no_mesh_is_refused(network):
    check(network.shardings, "mesh", JUNK)


@pytest.mark.parametrize(
    "tests", ["streams and one_axis or units and one_axis", pytest.param("", marks=pytest.mark.slow)]
)
def test_on_eight_devices(tests):
    """All of them take a minute."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            Path(__file__).with_name("on_eight_devices.py"),
            f"-k={tests}",
        ],
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert not done.returncode, done.stdout[-5000:]
