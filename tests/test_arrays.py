"""Files of arrays: what is damaged is refused by one kind of error, whatever NumPy makes of it."""

import numpy as np
import pytest

from fnn_jax.common import arrays
from fnn_jax.common.arrays import map_array
from fnn_jax.videos import read_video


def test_each_flipped_bit_of_a_header_is_read_or_refused(tmp_path):
    """NumPy reads the header as Python code, and lets through what that raises: SyntaxError, TokenError and others."""
    path = tmp_path / "a.npy"
    np.save(path, np.arange(12.0).reshape(3, 4))
    whole, refused = path.read_bytes(), 0
    for bit in range(8 * 128):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            map_array(path)
        except (OSError, ValueError):
            refused += 1
    assert refused > 300


def test_an_array_is_mapped_and_what_is_none_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(3))
    assert map_array(tmp_path / "a.npy").tolist() == [0, 1, 2]
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(ValueError, match="Python objects"):
        map_array(tmp_path / "objects.npy")
    with pytest.raises(FileNotFoundError):
        map_array(tmp_path / "none.npy")


def test_a_header_is_read_again_where_python_fails(tmp_path, monkeypatch):
    """Not where the file is damaged: that is said at once."""
    np.save(tmp_path / "a.npy", np.arange(3))
    arrays.save_arrays(tmp_path / "a.npz", {"a": np.arange(3)}, "of a")
    np.savez(tmp_path / "video.npz", np.arange(3, dtype=np.uint8).repeat(4).reshape(3, 2, 2))
    calls = []

    def fails_twice(function):
        def call(*positional, **named):
            calls.append(1)
            if len(calls) < 3:
                raise SystemError("AST constructor recursion depth mismatch (before=60, after=57)")
            return function(*positional, **named)

        return call

    monkeypatch.setattr(arrays, "PAUSE_S", 0)
    for name, read in (
        ("lib.format.open_memmap", lambda: map_array(tmp_path / "a.npy")),
        ("load", lambda: arrays.read_array("x", tmp_path / "a.npy")),
        ("load", lambda: arrays.load_arrays(tmp_path / "a.npz", "of a", ValueError, "")["a"]),
        ("load", lambda: read_video(tmp_path / "video.npz", size=(2, 2)).frames[:, 0, 0]),
    ):
        calls.clear()
        owner = np.lib.format if "." in name else np
        with monkeypatch.context() as patch:
            patch.setattr(owner, name.split(".")[-1], fails_twice(getattr(owner, name.split(".")[-1])))
            np.testing.assert_array_equal(read(), np.arange(3))
        assert len(calls) == 3
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr'")
    with pytest.raises(ValueError):
        map_array(tmp_path / "a.npy")
