import json
from pathlib import Path

import numpy as np
import pytest
import recipe

from fnn_jax.convert.conversion import from_state_dict
from fnn_jax.model.config import NetworkConfig

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="session")
def golden():
    """Golden file by name."""
    return lambda name: np.load(GOLDEN / f"{name}.npz")


@pytest.fixture(scope="session")
def shapes():
    """Keys and shapes of the published architecture with 24 units."""
    return json.loads((GOLDEN / "shapes.json").read_text())


@pytest.fixture(scope="session")
def config():
    return NetworkConfig.microns(24)


@pytest.fixture(scope="session")
def parameters(shapes, config):
    """The remakeable weights, through the converter's table."""
    return from_state_dict(recipe.weights(shapes), config, "recipe")
