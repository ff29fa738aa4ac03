"""Files of arrays: what is damaged is refused by one kind of error, whatever NumPy makes of it."""

import numpy as np
import pytest

from fnn_jax.common.arrays import map_array


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
