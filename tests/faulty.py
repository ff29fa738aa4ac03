"""Faults of files, as disks, copies and people make them."""

import numpy as np


def _flip(path, random):
    content = bytearray(path.read_bytes())
    if content:
        content[random.integers(len(content))] ^= 1 << random.integers(8)
        path.write_bytes(content)


def _cut(path, random):
    content = path.read_bytes()
    path.write_bytes(content[: random.integers(len(content))] if content else b"")


def _zeros(path, random):
    """As a file system leaves a file whose end it had not written when the power went."""
    content = bytearray(path.read_bytes())
    if content:
        begin = random.integers(len(content))
        content[begin:] = bytes(len(content) - begin)
        path.write_bytes(content)


FAULTS = {"flip": _flip, "cut": _cut, "zeros": _zeros, "delete": lambda path, random: path.unlink()}


def inflict(fault: str, path, random: np.random.Generator) -> None:
    FAULTS[fault](path, random)
