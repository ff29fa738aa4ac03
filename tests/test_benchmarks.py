"""The benchmarks: what they count, what they write, and that they run where the released package is not there."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from traced import equations

from fnn_jax import NetworkConfig
from fnn_jax.model.formulation import formulated

FOLDER = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(FOLDER))  # the scripts import what lies beside them
import accelerators  # noqa: E402
import counting  # noqa: E402
import device  # noqa: E402
import operations  # noqa: E402
import programs  # noqa: E402
import report  # noqa: E402
import run  # noqa: E402
import turns  # noqa: E402

SHARED = "counting machine memory operations options plugins programs report sides table turns".split()  # no scripts
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in SHARED)

# GFLOP a frame, from the architecture's shapes, by hand.
GFLOP = {
    "feedforward.block0": 2.77,
    "feedforward.block1": 1.38,
    "feedforward.block2": 0.69,
    "recurrent.convolution": 0.91,
    "recurrent.attention": 1.21,
    "recurrent.gates": 0.40,
    "recurrent.query_key_value": 0.30,
    "recurrent.maps": 0.30,
    "recurrent.out": 0.10,
}
MACHINE = {
    "platform": "cpu",
    "device": None,
    "processor": "abacus",
    "cores": 2,
    "memory_gb": 1.0,
    "versions": {"python": "3.12", "torch": None},
}


def a_table(question, rows):
    return {
        "question": question,
        "command": "x.py --repeats 2",
        "date": "2026-11-22",
        "commit": "abc1234",
        "machine": MACHINE,
        "busy_cores": 1.5 if "steep" in question else 0.0,
        "rows": [{"name": name, "cells": cells, "raw": {"seconds": [1.0, 2.0]}} for name, cells in rows],
        "notes": ["A note."],
    }


def test_operations_of_the_published_architecture():
    counts = operations.operations(NetworkConfig.microns(9941))
    assert sum(counts.values()) / 1e9 == pytest.approx(8.435, rel=5e-3)
    for part, expected in GFLOP.items():
        assert counts[part] / 1e9 == pytest.approx(expected, abs=0.006), part
    stages = operations.by_stage(counts)
    assert {stage: round(count / 1e9, 2) for stage, count in stages.items()} == {
        "feedforward": 5.20,
        "recurrent": 3.22,
        "readout": 0.01,
    }


def test_results_are_merged_and_written(tmp_path):
    first = {
        "gradient": a_table("How steep?", [("30 frames", {"ms": "5 (4-6)"})]),
        "units": a_table("How many?", [("10 units", {"ms": "1"})]),
    }
    order = ("units", "gradient")
    report.merge(tmp_path, "cpu", first, order)
    again = {"units": a_table("How many now?", [("10 units", {"ms": "2"}), ("20 units", {"ms": "3", "GB": "1"})])}
    written = report.merge(tmp_path, "cpu", again, order)

    scripts = json.loads((tmp_path / "cpu.json").read_text())["scripts"]
    assert scripts == again | {"gradient": first["gradient"]}
    assert list(scripts) == list(order)
    text = written.read_text()
    assert "How many?" not in text
    assert text.index("## How many now?") < text.index("## How steep?")
    expected = ["|  | ms | GB |", "| --- | --- | --- |", "| 10 units | 2 | - |", "| 20 units | 3 | 1 |"]
    assert "\n".join(expected) in text
    assert "| 30 frames | 5 (4-6) |" in text
    assert text.count("cores were busy") == 1
    assert "`x.py --repeats 2`, 2026-11-22, commit abc1234; abacus, 2 cores, 1.0 GB; python 3.12\n" in text


def test_times_come_as_a_median_and_quartiles():
    assert turns.spread([0.1234]) == "0.123"
    assert turns.spread(iter([100.0, 104.0, 108.0, 112.0, 1160.0])) == "108 (104-112)"
    calls = []
    seconds = turns.in_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3)
    assert calls == ["a", "b", "b", "a", "a", "b"]
    assert {side: len(values) for side, values in seconds.items()} == {"a": 3, "b": 3}


def test_nothing_is_timed_when_the_results_differ():
    sides = {"released": lambda: np.array([1.0, 2.0]), "fnn_jax": lambda: np.array([1.0, 2.1])}
    with pytest.raises(SystemExit, match=r"released and fnn_jax differ by 4\.8e-02"):
        turns.compare(None, "row", sides, 1, 1)


# As XLA writes programs for GPUs: a loop of eight turns, with a product, an update in place and a slice.
COMPILED = """
%fused_slice (param_0.1: f32[8,100]) -> f32[1,100] {
  %param_0.1 = f32[8,100]{1,0} parameter(0)
  ROOT %slice.1 = f32[1,100]{1,0} slice(%param_0.1), slice={[0:1], [0:100]}
}
%fused_update (param_0.2: f32[8,100], param_1.2: f32[1,100]) -> f32[8,100] {
  %param_0.2 = f32[8,100]{1,0} parameter(0)
  %param_1.2 = f32[1,100]{1,0} parameter(1)
  ROOT %dus = f32[8,100]{1,0} dynamic-update-slice(%param_0.2, %param_1.2)
}
%body.1 (arg: (s32[], f32[8,100])) -> (s32[], f32[8,100]) {
  %arg = (s32[], f32[8,100]) parameter(0)
  %x = f32[8,100]{1,0} get-tuple-element(%arg), index=1
  %row = f32[1,100]{1,0} fusion(%x), kind=kLoop, calls=%fused_slice, metadata={op_name="jit(run)/slice"}
  %new = f32[8,100]{1,0} fusion(%x, %row), kind=kLoop, calls=%fused_update
  ROOT %out = (s32[], f32[8,100]) tuple(%arg, %new)
}
%condition.1 (arg: (s32[], f32[8,100])) -> pred[] {
  ROOT %less = pred[] constant(true)
}
ENTRY %main (a: f32[8,100], b: bf16[100,100]) -> f32[8,100] {
  %a = f32[8,100]{1,0} parameter(0)
  %b = bf16[100,100]{1,0} parameter(1)
  %product = f32[8,100]{1,0} custom-call(%a, %b), custom_call_target="__cublas$gemm"
  %sum = f32[8,100]{1,0} all-reduce(%product), to_apply=%add
  %loop = (s32[], f32[8,100]) while(%t), condition=%condition.1, body=%body.1, backend_config={"known_trip_count":{"n":"8"}}
  ROOT %done = f32[8,100]{1,0} get-tuple-element(%loop), index=1
}
"""


def test_kernels_bytes_and_collectives_are_counted():
    found = counting.counted(SimpleNamespace(as_text=lambda: COMPILED), "cuda")
    row, product, sum_ = 400, 3200 + 20000 + 3200, 2 * 3200
    assert found.kernels == 2 + 8 * 2
    assert found.bytes == product + sum_ + 8 * (2 * row + 2 * row)  # a slice is read alone, and written in place
    assert found.collectives == {"all-reduce": 1}
    assert found.largest[0][:2] == (product, "__cublas$gemm")
    h100 = accelerators.DEVICES["h100"]
    by_bytes = accelerators.modelled_s(found, 0.0, h100, "predict", "float32")
    assert by_bytes == pytest.approx(2.3 * (found.bytes / 3.35e12 + 18 * 2.5e-6))
    assert accelerators.modelled_s(found, 67e12, h100, "predict", "float32") == pytest.approx(2.3 * (1 + 18 * 2.5e-6))


def test_rows_of_accelerators_are_written():
    values = {"compile_s": 20.0, "temporaries_gb": 0.8, "kernels_a_frame": 7.5, "megabytes_a_frame": 278.0}
    values |= {"collectives": {"all-gather": 14}, "modelled_ms_a_frame": 0.1, "trace_s": 1, "largest": []}
    rows = {"h100 | predict | float32 | 4": values, "v5e | predict | float32 | 1": {"error": "XlaError: no"}}
    text = accelerators.written(rows, "About.")
    assert "| predict | float32 | 4 | 20 | 0.8 | 7.5 | 278 | 14 all-gather | 0.1 |" in text
    assert "| predict | float32 | 1 | does not compile: XlaError: no |" in text


def test_no_compiler_no_row(monkeypatch):
    """Where a plugin is missing it says so, and nothing is written that was not counted."""
    from jax.experimental import topologies

    def missing(**_):
        raise RuntimeError("no such plugin")

    monkeypatch.setattr(topologies, "get_topology_desc", missing)
    with pytest.raises(accelerators.Unavailable, match="no compiler for tpu here: no such plugin"):
        accelerators.described(accelerators.DEVICES["v5e"], 1)


@pytest.mark.parametrize("name", programs.PROGRAMS)
def test_programs_can_be_traced(name):
    program = programs.PROGRAMS[name](NetworkConfig.tiny(5), "float32")
    assert len(program.arguments) == len(program.axes)
    jax.eval_shape(program.function, *program.arguments)


def test_targets_side_by_side_share_the_weights():
    """A condition that is mapped over targets would give each its own: convolutions in so many groups."""

    def kernels(targets):
        program = programs.synthesis_step(NetworkConfig.tiny(5), "float32", frames=4, targets=targets)
        with formulated("gpu"):
            traced = jax.make_jaxpr(program.function)(*program.arguments)
        found = [e.invars[1].aval.shape for e in equations(traced.jaxpr) if e.primitive.name == "conv_general_dilated"]
        return sorted(found)

    assert kernels(2) == kernels(3) != []


def test_a_program_is_timed(tmp_path):
    results = SimpleNamespace(repeats=2, add=lambda name, cells, **raw: rows.append((name, cells, raw)))
    rows = []
    program = programs.Program(lambda x: x + 1, (jax.ShapeDtypeStruct((3,), jnp.float32),), (0,), 3)
    made = device.compiled(program)
    device.measure(results, "plus", made, (jnp.zeros(3),), accelerators.DEVICES["h100"], "float32")
    ((name, cells, raw),) = rows
    assert name == "plus" and len(raw["seconds"]) == 2 and set(cells) >= {"ms a frame", "temporaries, GB"}


def test_arguments_of_a_program_are_the_weights_of_a_network():
    config = NetworkConfig.tiny(5)
    for name in programs.PROGRAMS:
        program = programs.PROGRAMS[name](config, "float32")
        if program.start is None:
            made = device.values(program.arguments, config)
            wanted, found = map(programs.shapes, (program.arguments, made))
            assert jax.tree.structure(found) == jax.tree.structure(wanted), name
            assert jax.tree.leaves(found) == jax.tree.leaves(wanted), name
            scales = [a for path, a in jax.tree_util.tree_leaves_with_path(made[0]) if "scale" in str(path)]
            assert all((scale == 1).all() for scale in scales), name  # as networks begin, and no random number


def test_a_step_that_fails_or_hangs_does_not_stop_the_rest():
    python = [sys.executable, "-c"]
    assert run.run([*python, ""], None, 60) == ""
    assert run.run([*python, "raise SystemExit(3)"], None, 60) == "ended with code 3"
    assert run.run([*python, "import time; time.sleep(60)"], None, 0.5) == "was stopped after 0.5 s"


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_explain_themselves(script, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [f"{script}.py", "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(FOLDER / f"{script}.py"), run_name="__main__")
    assert not end.value.code
    assert "usage:" in capsys.readouterr().out


@pytest.mark.slow
def test_a_clip_without_the_released_package(tmp_path):
    path = tmp_path / "single_clip.json"
    sizes = ["--units", "6", "--frames", "8", "--repeats", "1"]
    command = [sys.executable, str(FOLDER / "single_clip.py"), *sizes, "--alone", "--json", str(path)]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    table = json.loads(path.read_text())
    (row,) = table["rows"]
    assert row["name"] == "8 frames, 6 units"
    assert list(row["cells"]) == ["fnn_jax, ms a frame", "fnn_jax, compiling, s", "fnn_jax, GB"]
    assert row["raw"]["seconds"].keys() == {"fnn_jax"}
    assert 0.1 < row["raw"]["peaks"]["fnn_jax"]["peak_gb"] < 10
    assert table["machine"]["platform"] == "cpu"
