"""Wrong command lines and damaged files, drawn at random: each ends with 1 or 2 and one clear message."""

import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recordings import arrays, write_recording
from signals import session, write_signals
from wrong import NO_WORDS

from fnn_jax import Twin, cli

FEW = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
TEXTS = NO_WORDS | st.sampled_from(
    ["", "nan", "1e999", "None", "a", "word", "x_1", "x" * 999, "1" * 5000, "\0", "½", "a b"]
)
NO_INTEGERS = TEXTS.filter(lambda text: not text.strip().isdigit()) | st.sampled_from(["0.5", "1e3", "1_0_", "0x1"])
NO_NUMBERS = TEXTS.filter(lambda text: not text.strip().isdigit()) | st.sampled_from(["inf", "-inf", "1,5"])
COUNTS = NO_INTEGERS | st.sampled_from(["0", "-1", "99999999999", "9" * 4000])
FROM_0 = NO_INTEGERS | st.sampled_from(["-1", "99999999999999999999", "9" * 4000])
ABOVE_0 = NO_NUMBERS | st.sampled_from(["0", "-1.5", "1e-400"])
WORDS = TEXTS | st.sampled_from(["DARK", "float64", "cropped"])
UNITS = NO_INTEGERS | st.sampled_from(["-1", "7", "99999999999999999999", "none.csv", "a\0b.csv"])
# Nothing is at any of these paths.
PATHS = st.sampled_from(
    ["", "a\0b", "~nobody-of-this-name/x", "none", "none/none.npy", "none.mp4", "x" * 300, "/dev/null/x"]
)


@pytest.fixture(scope="module")
def files(twin, tmp_path_factory):
    """A folder with what the verbs want: weights, a video, traces, recordings, a configuration."""
    folder = tmp_path_factory.mktemp("command_line")
    twin.save(folder / "weights")
    np.save(folder / "video.npy", np.zeros((3, 18, 32), np.uint8))
    write_recording(folder / "training_data")
    for number in range(2):
        for kind, array in arrays(units=7).items():
            (folder / "evaluation_data" / kind / "video").mkdir(parents=True, exist_ok=True)
            np.save(folder / "evaluation_data" / kind / "video" / f"repeat{number}.npy", array)
    write_signals(session()[0], folder / "signals")
    np.savez(folder / "responses.npz", clip=np.zeros((3, 7), np.float32))
    (folder / "config.toml").write_text('[data]\ntraining = "training_data"\n[start]\ndirectory = "weights"\n')
    return folder


@pytest.fixture
def nothing_is_computed(monkeypatch):
    def compute(*arguments, **options):
        raise AssertionError("a wrong argument got as far as the work")

    names = (
        "twin.network_calls.compiled_rollout",
        "twin.threads.rollout",
        "screen.screen.Predictor",
        "synthesis.optimisation.Problem",
        "training.loop._Loop",
    )
    for name in (*names, "cli.data.make_example"):
        monkeypatch.setattr(f"fnn_jax.{name}", compute)


@pytest.fixture(autouse=True)
def loaded_once(twin, files, monkeypatch):
    """Weights are read from the disk where they are wrong only."""
    load = Twin.load

    def load_or_take(directory, scan=None):
        return twin if directory == files / "weights" and scan in (None, "twin") else load(directory, scan)

    monkeypatch.setattr(Twin, "load", load_or_take)


def explained(capsys, arguments):
    """Run a command line, which must fail with one message."""
    try:
        code = cli.main(arguments)
    except SystemExit as end:  # of argparse, for wrong usage
        code = end.code
    error = capsys.readouterr().err
    assert code in (1, 2), (code, error)
    assert "Traceback" not in error and len(error) < 9000
    pattern = rf"fnn-jax {arguments[0]}: ." if code == 1 else "usage: fnn-jax"
    assert re.match(pattern, error), error
    return error


WEIGHTS = ["--directory", "{weights}"]
RUN = {
    "--directory": PATHS,
    "--scan": TEXTS,
    "--weights": WORDS,
    "--units": UNITS,
    "--periphery": WORDS,
    "--precision": WORDS,
    "--perspectives": PATHS,
    "--modulations": PATHS,
}
BUILD = {
    "--absent": WORDS,
    "--size": COUNTS,
    "--fit": WORDS,
    "--response-lag-s": NO_NUMBERS,
    "--negative": WORDS,
    "--validation": NO_NUMBERS | st.sampled_from(["-0.1", "1"]),
    "--repeated": TEXTS,
    "--seed": FROM_0,
}
NWB = "data from-nwb"
# Of each verb a command line that would work, and its options with what is wrong for them.
VERBS = {
    "predict": (
        ["{video}", *WEIGHTS, "-o", "{out}.npy"],
        RUN | {"--fit": WORDS, "--frames-per-second": ABOVE_0, "-o": PATHS},
    ),
    "screen": (
        ["{video}", *WEIGHTS, "-o", "{out}.zarr"],
        RUN
        | {
            "-o": PATHS,
            "--fit": WORDS,
            "--reduce": WORDS,
            "--intervals": TEXTS | st.sampled_from(["--", "3", "a:b", "5:2", "0:0", "-1:2", "0:99", "1:2:3"]),
            "--features": TEXTS | st.just("recurrent.hiden"),
            "--batch-size": COUNTS,
            "--errors": WORDS,
        },
    ),
    "tune": (
        ["--protocol", "direction", *WEIGHTS, "-o", "{out}"],
        RUN
        | {
            "--protocol": WORDS,
            "--set": TEXTS
            | st.sampled_from(["on_s=", "=1", "on_s=a", "on_s=-1", "repeats=0", "directions=[]", "no=1"]),
            "--geometry": WORDS,
            "--pages": NO_INTEGERS | st.just("-1"),
            "--batch-size": COUNTS,
        },
    ),
    "synthesize": (
        [*WEIGHTS, "--units", "1", "--frames", "3", "--burn-in", "1", "-o", "{out}"],
        RUN
        | {
            "--frames": COUNTS,
            "--steps": COUNTS,
            "--learning-rate": ABOVE_0,
            "--contrast": ABOVE_0 | st.just("0.6"),
            "--smooth": NO_NUMBERS | st.just("-1"),
            "--burn-in": FROM_0 | st.just("3"),
            "--objective": WORDS,
            "--seed": FROM_0,
            "--batch-size": COUNTS,
            "--clips": PATHS,
            "-o": st.sampled_from(["", "a\0b", "~nobody-of-this-name/x"]),
        },
    ),
    "train": (
        ["{config}", "-o", "{out}"],
        {
            "-o": st.sampled_from(["", "a\0b", "~nobody-of-this-name/x"]),
            "--set": TEXTS
            | st.sampled_from(
                ["epochs=0", "epochs=a", "no=1", "=", "seed=" + "1" * 5000, "train=[[]]", "clip=[" + "[" * 9999]
            ),
            "--checkpoint-minutes": NO_NUMBERS | st.just("-1"),
        },
    ),
    "evaluate": (
        ["{weights}", "{evaluation}", "-o", "{out}"],
        {
            "-o": st.sampled_from(["", "a\0b", "~nobody-of-this-name/x", "/dev/null"]),
            "--scan": TEXTS,
            "--weights": WORDS,
            "--units": UNITS,
            "--burn-in": FROM_0 | st.just("23"),
            "--missing": WORDS,
            "--periphery": WORDS,
            "--precision": WORDS,
            "--batch-size": COUNTS,
        },
    ),
    "demo": (
        ["-o", "{out}", *WEIGHTS],
        {"--directory": PATHS, "--scan": TEXTS, "--weights": WORDS, "-o": st.sampled_from(["", "a\0b"])},
    ),
    "download": (["--offline"], {"--weights": WORDS, "--scan": TEXTS, "--properties": WORDS, "--directory": PATHS}),
    "download --example-recording": (["--offline", "--directory", "{out}"], {"--directory": PATHS, "--weights": WORDS}),
    "info": ([], {"": PATHS}),
    "verify": (["{weights}"], {"--weights": WORDS}),
    "convert": (["{weights}", "-o", "{out}"], {"--scan": TEXTS, "--name": TEXTS, "--weights": WORDS}),
    "export": (
        ["{weights}", "-o", "{out}.onnx", "--format", "onnx"],
        {
            "--scan": TEXTS,
            "--weights": WORDS,
            "--format": WORDS,
            "--units": UNITS,
            "--frames": COUNTS,
            "--periphery": WORDS,
            "--external-mb": ABOVE_0,
        },
    ),
    "data check": (["{training}"], {"--window-frames": COUNTS}),
    "data from-arrays": (
        ["{signals}", "-o", "{out}", "--size", "18", "32"],
        BUILD,
    ),
    NWB: (
        ["{session}", "-o", "{out}", "--size", "18", "32"],
        BUILD | {"--mapping": PATHS},
    ),
    "data to-nwb": (
        ["{responses}", "-o", "{out}.nwb"],
        {"-o": PATHS, "--session-start": TEXTS, "--sex": WORDS},
    ),
    "data make-example": (
        ["-o", "{out}"],
        {"--num-units": COUNTS, "--trials": COUNTS, "--seconds": ABOVE_0 | st.just("1e300"), "--seed": FROM_0},
    ),
}


def filled_in(arguments, files, tmp_path):
    names = {
        "weights": files / "weights",
        "video": files / "video.npy",
        "config": files / "config.toml",
        "training": files / "training_data",
        "evaluation": files / "evaluation_data",
        "signals": files / "signals",
        "session": files / "session.nwb",
        "responses": files / "responses.npz",
        "out": tmp_path / "out",
    }
    return [argument.format(**names) for argument in arguments]


@pytest.mark.usefixtures("nothing_is_computed")
@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != NWB])
def test_options(verb, files, tmp_path, capsys, monkeypatch):
    check_options(verb, files, tmp_path, capsys, monkeypatch)


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_is_computed")
def test_options_of_nwb(files, tmp_path, capsys, monkeypatch):
    """Each reads the file anew."""
    nwb_files = pytest.importorskip("nwb_files", reason="pynwb is not installed: it is part of the extra 'nwb'")
    nwb_files.write(nwb_files.full(session()[0]), files / "session.nwb")
    check_options(NWB, files, tmp_path, capsys, monkeypatch)


def check_options(verb, files, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments, options = VERBS[verb]
    arguments = [*verb.split(), *filled_in(arguments, files, tmp_path)]

    @settings(FEW, max_examples=40)
    @given(st.one_of([st.tuples(st.just(option), strategy) for option, strategy in options.items()]))
    def is_explained(wrong):
        option, text = wrong
        wrong = [f"{option}={text}"] if option.startswith("--") else [option, text] if option else [text]
        explained(capsys, [*arguments, *wrong])

    is_explained()


BYTES = st.binary(max_size=200) | st.sampled_from(
    [
        b"",
        b"\x93NUMPY\x01\x00",
        b"\x93NUMPY\x01\x00\xff\xff{",
        b"PK\x03\x04",
        b"PK\x05\x06" + b"\0" * 18,
        b"GIF89a",
        b"\x89PNG\r\n\x1a\n",
        b"\0\0\0\x18ftypmp42",
        b"\x1aE\xdf\xa3",
        b"RIFF\0\0\0\0AVI ",
        b"a: " + b"{" * 1500,
        b"a = " + b"[" * 1500,
        b"a = " + b"1" * 5000,
        b"a: " + b"1" * 5000,
        b"a: 2020-99-99",
        b"? {a: b}\n: c",
        b"\xff\xfe",
        b"&a [*a]",
        b"!!python/object:os.system x",
    ]
)


def test_damaged_videos(files, tmp_path, capsys):
    @FEW
    @given(
        BYTES, st.sampled_from([".npy", ".npz", ".mp4", ".avi", ".gif", ".png", ".tif", ".bmp", ".zarr", ".webm", ""])
    )
    def is_explained(content, suffix):
        (tmp_path / f"video{suffix}").write_bytes(content)
        rest = ["--directory", str(files / "weights"), "-o", str(tmp_path / "out.npy")]
        explained(capsys, ["predict", str(tmp_path / f"video{suffix}"), *rest])
        rest = ["--directory", str(files / "weights"), "-o", str(tmp_path / "out.zarr")]
        explained(capsys, ["screen", str(tmp_path / f"video{suffix}"), *rest])

    is_explained()


@pytest.mark.parametrize("option", ["--perspectives", "--modulations"])
def test_damaged_traces(option, files, tmp_path, capsys):
    @FEW
    @given(BYTES)
    def is_explained(content):
        (tmp_path / "trace.npy").write_bytes(content)
        rest = [
            "--directory",
            str(files / "weights"),
            "-o",
            str(tmp_path / "out.npy"),
            option,
            str(tmp_path / "trace.npy"),
        ]
        error = explained(capsys, ["predict", str(files / "video.npy"), *rest])
        assert option in error

    is_explained()


@pytest.mark.parametrize("suffix", [".toml", ".yaml", ".yml", ".txt"])
def test_damaged_configurations(suffix, tmp_path, capsys):
    @settings(FEW, max_examples=40)
    @given(BYTES)
    def is_explained(content):
        path = tmp_path / f"config{suffix}"
        path.write_bytes(content)
        assert str(path) in explained(capsys, ["train", str(path), "-o", str(tmp_path / "out")])

    is_explained()


VALUES = [
    "5",
    "1.5",
    "true",
    "[]",
    "[1]",
    '["a"]',
    "{ a = 1 }",
    '""',
    '"a\\u0000b"',
    '"~nobody-of-this-name"',
    "2020-01-01",
    "nan",
]
RIGHT = [("recipe.epochs", "5"), ("data.max_items", "5"), ("data.accept_scaling", "true"), ("name", '""')]
ENTRIES = ["out", "name", "data", "data.training", "data.evaluation", "data.max_items", "data.units", "start"]
ENTRIES += [
    "start.directory",
    "start.scan",
    "start.weights",
    "network",
    "network.core",
    "network.perspective",
    "recipe",
]
ENTRIES += ["recipe.epochs", "recipe.train", "data.accept_scaling", "unknown"]


@pytest.mark.usefixtures("nothing_is_computed")
@pytest.mark.parametrize("entry", ENTRIES)
def test_wrong_configurations(entry, files, tmp_path, capsys):
    section, _, name = entry.rpartition(".")
    right = {"training": str(files / "training_data"), "directory": str(files / "weights")}

    @FEW
    @given(st.sampled_from([value for value in VALUES if (entry, value) not in RIGHT]))
    def is_explained(value):
        lines = {
            "": ["out = 'twin'"],
            "data": [f"training = '{right['training']}'"],
            "start": [f"directory = '{right['directory']}'"],
        }
        if entry in lines or (name in ("network", "recipe", "start", "data") and not section):
            lines.pop(entry, None)
        lines[section] = [line for line in lines.get(section, []) if not line.startswith(f"{name} =")]
        lines[section].append(f"{name} = {value}")
        text = "\n".join("\n".join([f"[{each}]" if each else "", *content]) for each, content in lines.items())
        (tmp_path / "config.toml").write_text(text)
        explained(capsys, ["train", str(tmp_path / "config.toml")])

    is_explained()
