"""What a compiled program does, by its text: kernels, the bytes that they move, what devices ask one another."""

import collections
import re
from typing import NamedTuple

import numpy as np

COLLECTIVES = "all-reduce|all-gather|all-to-all|reduce-scatter|collective-permute"
BYTES = {
    **{"f64": 8, "s64": 8, "u64": 8, "f32": 4, "s32": 4, "u32": 4, "bf16": 2, "f16": 2, "s16": 2, "u16": 2},
    **{"pred": 1, "u8": 1, "s8": 1},
}
NOT_A_KERNEL = {
    *("parameter", "get-tuple-element", "tuple", "constant", "bitcast", "while", "after-all"),
    *("copy-done", "slice-done", "async-done", "fusion-done"),
}
# Its groups: name, shape, operation and operands.
INSTRUCTION = re.compile(r"(?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*?)\)")


class Count(NamedTuple):
    """What an execution takes on one device."""

    kernels: int
    bytes: float
    collectives: dict[str, int]
    largest: list[tuple[float, str, str]]  # bytes, kind and origin of the kernels that move the most


def counted(executable, platform: str) -> Count:
    """Kernels, bytes that they read and write, and collectives, loops times their turns."""
    text = executable.as_text()
    collectives = dict(collections.Counter(re.findall(rf" ({COLLECTIVES})(?:-start)?\(", text)))
    parts = _computations(text)
    kernels, moved, rows = 0, 0.0, []
    for name, times in _turns(parts, re.search(r"^ENTRY %?([\w.\-]+) ", text, re.M)[1]).items():
        found = _kernels(parts.get(name, []), parts)
        kernels += times * len(found)
        moved += times * sum(row[0] for row in found)
        rows += [(times * row[0], *row[1:]) for row in found]
    if platform == "tpu":
        kernels = 0  # its programs launch none: they run as a whole
    return Count(kernels, moved, collectives, sorted(rows, reverse=True)[:5])


def _turns(parts, entry):
    """How often each computation that launches kernels is executed: loops, and calls, in one another."""
    turns, waiting = {entry: 1}, [entry]
    while waiting:
        name = waiting.pop()
        for line in parts.get(name, []):
            if loop := re.search(r" while\(.*body=%?([\w.\-]+)", line):
                known = re.search(r'known_trip_count":\{"n":"(\d+)"', line)
                body, times = loop[1], int(known[1]) if known else _limit(parts, line)
            elif called := re.search(r" call\(.*to_apply=%?([\w.\-]+)", line):
                body, times = called[1], 1
            else:
                continue
            turns[body] = turns.get(body, 0) + turns[name] * times
            waiting.append(body)
    return turns


def _limit(parts, line):
    """The number that a loop counts to: the only one in its condition."""
    condition = parts.get(re.search(r"condition=%?([\w.\-]+)", line)[1], [])
    called = [name for text in condition for name in re.findall(r"calls=%?([\w.\-]+)", text)]
    lines = condition + [text for name in called for text in parts.get(name, [])]
    numbers = [int(number) for text in lines for number in re.findall(r" s32\[\]\S* constant\((\d+)\)", text)]
    return max(numbers, default=1)


def _computations(text):
    parts, name = {}, None
    for line in text.split("\n"):
        if start := re.match(r"^(?:ENTRY )?%?([\w.\-]+) \(.*\) -> .* \{", line):
            name = start[1]
            parts[name] = []
        elif line.startswith("}"):
            name = None
        elif name and "=" in line:
            parts[name].append(line.strip())
    return parts


def _kernels(lines, parts):
    """``(bytes, kind, origin)`` of each kernel of a computation."""
    shapes, rows = {}, []
    for line in lines:
        parsed = INSTRUCTION.match(line)
        if not parsed:
            continue
        name, shape, operation, operands = parsed.groups()
        shapes[name] = shape
        if operation in NOT_A_KERNEL or operation == "call" or "ConcatBitcast" in line:
            continue
        if operation.endswith("-start") and operation.split("-")[0] in ("copy", "slice"):
            rows.append((_copied(shape), operation, ""))
            continue
        if operation == "fusion-start":  # which lists its operands before its result
            shape = shape.split("), ", 1)[1]
        target = re.search(r'custom_call_target="([^"]+)"', line)
        called = re.search(r"calls=%?([\w.\-]+)", line)
        inside = "\n".join(parts.get(called[1], [])) if called else line
        out = _size(shape)
        names = [o.strip().split(" ")[-1].lstrip("%") for o in operands.split(",")]
        read = [_size(shapes.get(o, "")) for o in names]
        if called:
            read = [min(size, _sliced(parts.get(called[1], []), i, size)) for i, size in enumerate(read)]
        if re.search(r"ROOT [^\n]*dynamic-update-slice\(", inside):  # in place: a slice is written
            moved = 2 * sum(size for size in read if size < out)
        else:
            moved = out + sum(read) - (_kept(parts.get(called[1], [])) if called else 0)
        origin = re.search(r'op_name="([^"]+)"', line)
        rows.append((moved, target[1] if target else operation, origin[1][-80:] if origin else ""))
    return rows


def _sliced(lines, index, size):
    """Bytes that a fused computation reads of an operand: where it takes slices of it alone, theirs."""
    own = next((re.match(r"%?([\w.\-]+) =", line)[1] for line in lines if f" parameter({index})" in line), None)
    total = 0
    for line in lines:
        parsed = re.match(r"(?:ROOT )?%?[\w.\-]+ = (\(.*?\)|\S+) ([\w\-]+)\((.*?)\)", line)
        if parsed and own is not None and re.search(rf"(?<![\w.\-]){re.escape(own)}(?![\w.\-])", parsed[3]):
            if parsed[2] not in ("slice", "dynamic-slice"):
                return size
            total += _size(parsed[1])
    return total or size


def _kept(lines):
    """Bytes that a fused computation neither reads nor writes of arrays of which it replaces a slice in place."""
    shapes, total = {}, 0
    for line in lines:
        parsed = INSTRUCTION.match(line)
        if parsed:
            name, shape, operation, operands = parsed.groups()
            shapes[name] = shape
            if operation == "dynamic-update-slice":
                update = operands.split(",")[1].strip().split(" ")[-1].lstrip("%")
                total += 2 * _size(shape) - _size(shapes.get(update, ""))
    return total


def _copied(shape):
    """Bytes of a copy into or out of the memory on the chip of a TPU, which is free to read and write."""
    kinds = [(_padded(*found), "S(" in found[2]) for found in _arrays(shape)]
    (one, one_on_chip), (other, other_on_chip), *_ = [found for found in kinds if found[0] > 4]
    return min(one, other) * (2 - one_on_chip - other_on_chip)


def _arrays(shape):
    """Kind, sides and layout of each array."""
    kinds = "|".join(BYTES)
    return re.findall(rf"\b({kinds})\[([\d,]*)\](\{{[^}}]*\}})?", shape)


def _size(shape):
    """Bytes in the main memory; a TPU also has memory on the chip, marked by S(1)."""
    return sum(_padded(kind, sides, layout) for kind, sides, layout in _arrays(shape) if "S(" not in layout)


def _padded(kind, sides, layout):
    """Bytes of an array, with what a TPU fills up to whole tiles of its two innermost sides, as ``{1,0:T(8,128)}``."""
    sides = [int(side) for side in sides.split(",") if side]
    tile = re.search(r":T\(([\d,]+)\)", layout)
    if tile and sides:
        order = [int(axis) for axis in layout[1 : layout.index(":")].split(",")]
        for axis, length in zip(order, reversed(tile[1].split(",")), strict=False):
            sides[axis] = -(-sides[axis] // int(length)) * int(length)
    return BYTES[kind] * int(np.prod(sides or [1]))
