"""Strict settings for every test, and the small twin that most of them use."""

import gc
from pathlib import Path

import compiled  # noqa: F401  before JAX is imported

# isort: split
import bucket
import jax
import jaxtyping
import pytest
from disturbed import disturb, small

# Shapes and types of annotations are checked in the whole model but its configuration, which says itself what is wrong.
MODEL = Path(__file__).parents[1] / "fnn_jax" / "model"
CHECKED = [f"fnn_jax.model.{path.stem}" for path in MODEL.iterdir() if path.stem not in ("__init__", "config")]
jaxtyping.install_import_hook(CHECKED, "beartype.beartype")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

from fnn_jax import Twin, microns  # noqa: E402
from fnn_jax.demo import random_network  # noqa: E402
from fnn_jax.microns import downloads, release  # noqa: E402
from fnn_jax.model.network import Network  # noqa: E402

NUM_UNITS = 7
gc.freeze()  # what was imported stays
gc.set_threshold(50_000, 20, 50)  # programs are traced from very many small objects


@pytest.fixture(scope="session")
def network() -> Network:
    """A small network in which every parameter matters."""
    return disturb(random_network(small(NUM_UNITS)))


@pytest.fixture(scope="session")
def twin(network) -> Twin:
    return Twin(network, label="random weights")


@pytest.fixture(scope="session")
def bucket_folder(tmp_path_factory):
    """A small copy of the public bucket; see ``bucket``."""
    pytest.importorskip("torch", reason="PyTorch is not installed: it is part of the extra 'export'")
    folder = tmp_path_factory.mktemp("bucket")
    bucket.make(folder)
    return folder


@pytest.fixture
def server(bucket_folder, monkeypatch):
    """That bucket on a server of this machine, taken for the published one."""
    with bucket.Server.serving(bucket_folder) as server:
        monkeypatch.setattr(release, "MICRONS", bucket.as_release(bucket_folder, server.base_url))
        monkeypatch.setattr(downloads, "WAITS_S", (0.01,) * 5)
        yield server


@pytest.fixture(scope="session")
def full_cache(bucket_folder, tmp_path_factory):
    """A folder with everything that is published, downloaded once; tests that change it take a copy."""
    folder = tmp_path_factory.mktemp("full") / "cache"
    with bucket.Server.serving(bucket_folder) as server, pytest.MonkeyPatch.context() as patch:
        patch.setattr(release, "MICRONS", bucket.as_release(bucket_folder, server.base_url))
        microns.download(directory=folder, properties=list(bucket.REAL.properties), progress=False)
        microns.download(weights="ori-trained", scans=["8-5", "4-7"], directory=folder, progress=False)
    return folder


@pytest.fixture
def here(full_cache, server, monkeypatch):
    """Everything is here; the server's log shows what is asked for all the same."""
    monkeypatch.setenv("FNN_JAX_CACHE", str(full_cache))
    return server


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """No test sees, or fills, the cache of whoever runs it."""
    monkeypatch.setenv("FNN_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FNN_JAX_OFFLINE", raising=False)
    return tmp_path / "cache"
