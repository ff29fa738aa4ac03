"""The scripts of docs/pipelines.md, run as a reader runs them: their answers are those of one process."""

import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import xarray

from fnn_jax import NetworkConfig, Screen, Twin, open_screen
from fnn_jax.microns.release import MICRONS
from fnn_jax.screen import ScreenError
from fnn_jax.weights.store import default_units, new_store, parameter_arrays, split_core, write_core, write_scan

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "examples" / "pipelines"
PAGE = (ROOT / "docs" / "pipelines.md").read_text()
SCRIPT = FOLDER / "screen.sbatch"
COUNT = 20  # stimuli: more than one block
SCANS = ("8-5", "6-4")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A folder of weights with two scans, as ``fnn-jax convert`` makes one of thirteen."""
    folder = tmp_path_factory.mktemp("pipelines") / "weights"
    networks = [Twin.random(NetworkConfig.tiny(6), seed=seed).network for seed in range(len(SCANS))]
    parts = [split_core(parameter_arrays(network)) for network in networks]
    with new_store(folder, overwrite=False) as new:
        core = write_core(new, networks[0].config, parts[0][0])
        for scan, network, (_, rest) in zip(SCANS, networks, parts, strict=True):
            write_scan(new, scan, network.config, rest, default_units(6), core)
    return folder


@pytest.fixture(scope="module")
def expected(weights):
    """What one process answers to the stimuli of all numbers, by scan."""
    config = NetworkConfig.tiny(6)
    size = (30, config.stimulus_height, config.stimulus_width)
    videos = [np.random.default_rng(number).integers(0, 256, size, np.uint8) for number in range(COUNT)]
    with jax.numpy_dtype_promotion("standard"):
        return {
            scan: Screen(Twin.load(weights, scan), reduce="mean", progress=False)(videos).responses.values
            for scan in SCANS
        }


def start(*command, folder, **variables):
    """Its standard output. As a reader would, with the Python of the tests as ``python``."""
    environment = os.environ | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "FNN_JAX_OFFLINE": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    environment |= variables
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_close(responses, expected):
    np.testing.assert_allclose(responses, expected, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "package"),
    [("with_multiprocessing.py", None), ("with_dask.py", "distributed"), ("with_ray.py", "ray")],
)
def test_arrays_from_workers(script, package, weights, expected, tmp_path):
    if package is not None:
        pytest.importorskip(package)
    result = tmp_path / "responses.npy"
    start("python", str(FOLDER / script), str(weights), "8-5", str(COUNT), str(result), folder=tmp_path)
    assert_close(np.load(result), expected["8-5"])


@pytest.mark.slow
def test_joblib_in_one_folder(weights, expected, tmp_path):
    pytest.importorskip("joblib")
    out = tmp_path / "responses.zarr"
    start("python", str(FOLDER / "with_joblib.py"), str(weights), "8-5", str(COUNT), str(out), folder=tmp_path)
    dataset = open_screen(out)
    assert_close(dataset.responses, expected["8-5"])
    assert dataset.attrs["settings"]["twins"] == [f"8-5 {Twin.load(weights, '8-5').fingerprint()}"]


@pytest.mark.slow
def test_a_process_loads_the_twin_once(weights):
    code = """
import sys, numpy as np, worker
from fnn_jax import microns
load, calls = microns.load, []
twin = worker.identity(sys.argv[1], "8-5")
microns.load = lambda *arguments: calls.append(arguments) or load(*arguments)
both = [worker.responses(twin, part) for part in worker.cut(4, 2)]
print(len(calls), np.array_equal(np.concatenate(both), worker.responses(twin, range(4))))
"""
    assert start("python", "-c", code, str(weights), folder=FOLDER) == "1 True\n"


GPUS_OF_DASK = """
import os, signal, time, distributed, with_dask
seen = lambda: os.environ["CUDA_VISIBLE_DEVICES"]
if __name__ == "__main__":
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        client.register_plugin(with_dask.OneGpu())
        print(*sorted(client.run(seen).values()))
        before = set(client.run(os.getpid).values())
        for process in before:
            os.kill(process, signal.SIGKILL)
        while len(set(client.run(os.getpid, on_error="ignore").values()) - before) < 2:
            time.sleep(1)  # until other processes have taken their place
        print(*sorted(client.run(seen).values()))
"""
GPUS_OF_RAY = """
import os, ray, with_ray
ray.init(num_cpus=2, num_gpus=2, include_dashboard=False)  # whether they are there or not
actors = [with_ray.Shower.options(num_cpus=1, num_gpus=1).remote(None) for _ in range(2)]
seen = lambda actor: os.environ["CUDA_VISIBLE_DEVICES"]
print(*sorted(ray.get([actor.__ray_call__.remote(seen) for actor in actors])))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "code", "visible", "seen"),
    [
        ("distributed", GPUS_OF_DASK, "", "0 1 0 1"),
        ("distributed", GPUS_OF_DASK, "4,6", "4 6 4 6"),
        ("ray", GPUS_OF_RAY, "4,6", "4 6"),
    ],
)
def test_every_worker_sees_a_gpu_of_its_own(package, code, visible, seen, tmp_path):
    """By name: none of them has to be there."""
    pytest.importorskip(package)
    (tmp_path / "gpus.py").write_text(code)
    variables = {"PYTHONPATH": str(FOLDER), "CUDA_VISIBLE_DEVICES": visible}
    assert start("python", "gpus.py", folder=tmp_path, **variables).split() == seen.split()


@pytest.mark.slow
def test_another_twin_is_refused(weights, tmp_path):
    code = "import worker, sys; worker.responses((sys.argv[1], '8-5', 'of another'), range(1))"
    with pytest.raises(AssertionError, match="holds another twin 8-5 than where the work was cut"):
        start("python", "-c", code, str(weights), folder=FOLDER)


def directives():
    """The options of #SBATCH lines."""
    return dict(re.findall(r"^#SBATCH --([\w-]+)(?:=(\S+))?$", SCRIPT.read_text(), re.MULTILINE))


def joined(out, scan):
    """The parts as the page joins them; all of them are of one twin."""
    parts = [open_screen(path) for path in sorted((out / scan).glob("part-*.zarr"))]
    assert len({str(part.attrs["settings"]["twins"]) for part in parts}) == 1
    return xarray.concat(parts, "stimulus", data_vars="minimal", coords="minimal", compat="override", join="override")


@pytest.mark.slow
def test_array_of_slurm(weights, expected, tmp_path):
    """What each task of the array runs, by the local shell; the part of one is damaged, and its task called again."""
    variables = {"DIRECTORY": str(weights), "SCANS": " ".join(SCANS), "STIMULI": str(COUNT), "PARTS": "2"}
    out = tmp_path / "responses"

    def task(index):
        start("bash", str(SCRIPT), folder=FOLDER, SLURM_ARRAY_TASK_ID=str(index), OUT=str(out), **variables)

    for index in range(len(SCANS) * 2):
        task(index)
    for scan in SCANS:
        dataset = joined(out, scan)
        assert dataset.stimulus.values.tolist() == [str(number) for number in range(COUNT)]
        assert_close(dataset.responses, expected[scan])
    chunk = next(
        path
        for path in sorted((out / "6-4/part-0001.zarr/responses").rglob("*"))
        if path.parent.name != "responses" and path.is_file()
    )
    chunk.write_bytes(b"damaged")
    with pytest.raises(ScreenError):
        open_screen(out / "6-4" / "part-0001.zarr")
    task(3)
    assert_close(joined(out, "6-4").responses, expected["6-4"])


def test_the_script_of_slurm_is_consistent():
    """Without slurm: shell and options are well formed, and the array has a task for each part of every scan."""
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)
    defaults = dict(re.findall(r"^([A-Z]+)=\$\{[A-Z]+:-(.+?)\}", SCRIPT.read_text(), re.MULTILINE))
    assert defaults["SCANS"].split() == list(MICRONS.num_units)
    last = int(re.fullmatch(r"0-(\d+)%\d+", directives()["array"])[1])
    assert last + 1 == len(MICRONS.num_units) * int(defaults["PARTS"])
    assert last <= 1000, "the most that SLURM allows if nobody has set MaxArraySize"
    assert directives().keys() >= {"gpus", "requeue", "time", "mem"}


@pytest.mark.slow
@pytest.mark.parametrize("cluster", ["local", "debug"])
def test_array_of_submitit(cluster, weights, expected, tmp_path):
    pytest.importorskip("submitit")
    out = tmp_path / "responses"
    arguments = [cluster, str(weights), str(out), str(COUNT), "2", *SCANS]
    printed = start("python", str(FOLDER / "with_submitit.py"), *arguments, folder=tmp_path)
    paths = [str(out / scan / f"part-{part:04}.zarr") for scan in SCANS for part in range(2)]
    assert printed.split() == paths
    for scan in SCANS:
        assert_close(joined(out, scan).responses, expected[scan])


def test_the_page_shows_what_the_files_do():
    files = [path.read_text() for path in FOLDER.iterdir() if path.suffix in (".py", ".sbatch")]
    blocks = re.findall(r"```(?:py|sh)\n(.*?)```", PAGE, re.DOTALL)
    assert blocks
    for block in blocks:
        for piece in re.split(r"\n\.\.\.\n", block):
            assert any(piece.strip() in text for text in files), piece
    for path in re.findall(r"`([a-z_]+\.(?:py|sbatch))`", PAGE):
        assert (FOLDER / path).exists(), path
