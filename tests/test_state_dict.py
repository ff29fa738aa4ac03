"""State dicts are read without PyTorch: to the bit as PyTorch reads them, and nothing in a file is run."""

import io
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fnn_jax.convert.state_dict import parse_state_dict
from fnn_jax.weights.checkpoint import CheckpointError

torch = pytest.importorskip("torch", reason="PyTorch is not installed: it is part of the extra 'export'")


def saved(state, **options):
    file = io.BytesIO()
    torch.save(state, file, **options)
    return file.getvalue()


def example():
    """Each way in which a tensor may lie in a storage."""
    shared = torch.arange(24.0)
    return OrderedDict(
        plain=torch.randn(3, 4),
        transposed=torch.randn(5, 6).t(),
        part=shared[3:9],
        columns=shared.reshape(4, 6)[:, 1:3],
        repeated=torch.ones(1).expand(3, 2),
        mask=torch.tensor([True, False]),
        scalar=torch.tensor(3.0),
        empty=torch.zeros(0, 4),
        parameter=torch.nn.Parameter(torch.ones(2)),
    )


def test_both_readers_agree_to_the_bit():
    state = example()
    data = saved(state)
    theirs = torch.load(io.BytesIO(data), weights_only=True)
    ours = parse_state_dict(data, "x.pt")
    assert list(ours) == list(theirs)
    for key, tensor in theirs.items():
        array = tensor.detach().numpy()
        assert (ours[key].dtype, ours[key].shape) == (array.dtype, array.shape)
        assert ours[key].tobytes() == array.tobytes()


def test_of_a_module_with_versions_and_buffers():
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.GroupNorm(2, 4))
    state = module.state_dict()  # an OrderedDict with an attribute _metadata
    ours = parse_state_dict(saved(state), "x.pt")
    assert all(np.array_equal(ours[key], state[key].numpy()) for key in state) and len(ours) == len(state)


def test_of_a_machine_with_the_other_byte_order():
    data = saved(OrderedDict(a=torch.tensor([1.0, -2.5])))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {info.filename: archive.read(info) for info in archive.infolist()}
    (storage,) = (name for name in parts if "/data/" in name)
    (order,) = (name for name in parts if name.endswith("byteorder"))
    parts[order], parts[storage] = b"big", struct.pack(">2f", 1.0, -2.5)
    assert parse_state_dict(zipped(parts), "x.pt")["a"].tolist() == [1.0, -2.5]


def zipped(parts, compression=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    return file.getvalue()


def with_pickle(content):
    return zipped({"x/data.pkl": content, "x/data/0": b"\0" * 8, "x/byteorder": b"little"})


class Attack:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
STORAGE = b"(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\x000X\3\0\0\0cpuK\2tQ"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps(Attack(os.mkdir, "pwned"), 2), "names posix.mkdir"),
        (pickle.dumps(Attack(eval, "1"), 2), "names __builtin__.eval"),
        (pickle.dumps(Attack(getattr, OrderedDict, "__init__"), 2), "names __builtin__.getattr"),
        (b"\x80\2ctorch._utils\n_rebuild_tensor_v2.__call__.__func__\n.", "names torch._utils._rebuild_tensor_v2.__"),
        (b"\x80\2(X\7\0\0\0pwned.xios\nmkdir\n.", "the code INST of pickle"),
        (b"\x80\2}\x82\1.", "the code EXT1 of pickle"),
        (b"\x80\2}cjson\ndumps\n\x81.", "the code NEWOBJ of pickle|names json.dumps"),
    ],
)
def test_code_in_a_file_is_refused_by_name(tmp_path, monkeypatch, content, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=f"x.pt holds more than tensors and was not opened.*{message}"):
        parse_state_dict(with_pickle(content), "x.pt")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "pickle exhausted"),
        (b"\x80\4}.", "saved with pickle_protocol=4, expected 2"),
        (b"\x80\2}r\xff\xff\xff\x7f.", "counts to 2147483647"),  # would take 16 GB
        (b"\x80\2ccollections\nOrderedDict\n}X\1\0\0\0aK\1sb.", "no state dict"),  # attributes of what is called
        (b"\x80\2" + REBUILD + b"}X\1\0\0\0aK\1sb.", "no state dict"),
        (b"\x80\2}X\1\0\0\0a" + REBUILD + b"(" + STORAGE + b"K\0K\3\x85K\1\x85tRs.", "no state dict"),  # 3 of 2 numbers
        (
            b"\x80\2}X\1\0\0\0a" + REBUILD + b"(" + STORAGE + b"J\xff\xff\xff\xffK\1\x85K\1\x85tRs.",
            "sizes that are none",
        ),
        (b"\x80\2}X\1\0\0\0a" + STORAGE.replace(b"K\2t", b"K\1t") + b"s.", "has 8 bytes, expected 4"),
        (b"\x80\2}X\1\0\0\0a" + STORAGE.replace(b"\x000X", b"\x007X") + b"s.", "storage '7' is not in the file"),
        (
            b"\x80\2}X\1\0\0\0a" + STORAGE.replace(b"FloatS", b"BoolS").replace(b"K\2t", b"K\x08t") + b"s.",
            "not names of",
        ),
        (pickle.dumps({"a": 1}, 2), "not names of tensors"),
        (pickle.dumps([1], 2), "holds a list"),
    ],
)
def test_pickles_that_are_no_state_dict(content, message):
    with pytest.raises(CheckpointError, match=message):
        parse_state_dict(with_pickle(content), "x.pt")


def test_other_files_are_refused():
    data = saved(example())
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {info.filename: archive.read(info) for info in archive.infolist()}
    with pytest.raises(CheckpointError, match=r"data.pkl is compressed, which torch.save does not do"):
        parse_state_dict(zipped(parts, zipfile.ZIP_DEFLATED), "x.pt")
    with pytest.raises(CheckpointError, match="a zip of other files"):
        parse_state_dict(zipped({"hello.txt": b"hello"}), "x.pt")
    with pytest.raises(CheckpointError, match="saved again by: python -c"):
        parse_state_dict(saved(example(), _use_new_zipfile_serialization=False), "x.pt")
    with pytest.raises(CheckpointError, match="neither true nor false"):
        (mask,) = (name for name, part in parts.items() if part == b"\1\0")
        parse_state_dict(zipped(parts | {mask: b"\1\2"}), "x.pt")
    for dtype in (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8):
        with pytest.raises(CheckpointError, match=rf"not float32 \(a is {dtype}\)"):
            parse_state_dict(saved({"a": torch.zeros(2, dtype=dtype)}), "x.pt")


def test_the_printed_remedy_works(tmp_path):
    (tmp_path / "old.pt").write_bytes(saved(example(), _use_new_zipfile_serialization=False))
    with pytest.raises(CheckpointError) as caught:
        parse_state_dict((tmp_path / "old.pt").read_bytes(), "old.pt")
    command = str(caught.value).partition("saved again by: python")[2]
    subprocess.run(sys.executable + command, shell=True, cwd=tmp_path, check=True)
    assert list(parse_state_dict((tmp_path / "new.pt").read_bytes(), "new.pt")) == list(example())


WHOLE = saved(example())
EXPECTED = parse_state_dict(WHOLE, "x.pt")


@given(st.integers(0, 8 * len(WHOLE) - 1))
@settings(max_examples=500, deadline=None)
def test_a_flipped_bit_changes_nothing_or_is_refused(bit):
    data = bytearray(WHOLE)
    data[bit // 8] ^= 1 << bit % 8
    try:
        found = parse_state_dict(bytes(data), "x.pt")
    except CheckpointError:
        return
    assert {key: array.tobytes() for key, array in found.items()} == {
        key: array.tobytes() for key, array in EXPECTED.items()
    }


@given(st.integers(0, len(WHOLE) - 1))
@settings(max_examples=200, deadline=None)
def test_a_cut_file_is_refused(length):
    with pytest.raises(CheckpointError, match="x.pt is"):
        parse_state_dict(WHOLE[:length], "x.pt")


@given(st.binary(max_size=200))
@settings(max_examples=500, deadline=None)
def test_any_pickle_ends_in_one_error(content):
    with pytest.raises(CheckpointError, match="x.pt"):
        parse_state_dict(with_pickle(b"\x80\2" + content), "x.pt")
