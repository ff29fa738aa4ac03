"""Arrays of a ``.pt`` file without PyTorch: its zip of a pickle and of storages is read as data, and runs nothing.

``torch.save`` writes a zip whose parts are not compressed: ``NAME/data.pkl``, a pickle in which tensors refer to
storages, and ``NAME/data/KEY``, the bytes of each storage. The pickle may use only what a state dict needs; whatever
else it names is refused by name, before anything is made of it.
"""

import io
import os
import pickle
import pickletools
import sys
import zipfile
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from fnn_jax.weights.checkpoint import CheckpointError

# What pickles of state dicts are made of. Other codes make objects in other ways, or are of other protocols.
CODES = """
    PROTO STOP MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE SHORT_BINSTRING
    EMPTY_DICT EMPTY_LIST EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 APPEND APPENDS SETITEM SETITEMS
    BINPUT LONG_BINPUT BINGET LONG_BINGET GLOBAL REDUCE BUILD BINPERSID
""".split()
DTYPES = {
    "FloatStorage": "f4",
    "DoubleStorage": "f8",
    "HalfStorage": "f2",
    "BFloat16Storage": "bfloat16",  # which NumPy has not: it is named, and refused
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
TORCH_NAMES = {"f4": "float32", "f8": "float64", "f2": "float16", "i8": "int64", "i4": "int32", "i2": "int16"}
TORCH_NAMES |= {"i1": "int8", "u1": "uint8", "?": "bool"}
KEPT = ("f4", "?")
PROTOCOL = 2
SAVE_AGAIN = """python -c "import torch; torch.save(torch.load('old.pt', weights_only=True), 'new.pt')\""""


class _Names(dict):
    """An ordered dict. Attributes, in which modules keep versions of theirs, are not kept."""

    def __setstate__(self, state: Any) -> None:
        pass


class _Dtype(NamedTuple):
    code: str


class _Storage(NamedTuple):
    dtype: str
    data: bytes


class Tensor(NamedTuple):
    dtype: str
    array: np.ndarray | None  # None of a dtype that is not kept


class _OrderedDict:
    """Called where the pickle makes an ordered dict; without attributes that a pickle could set."""

    __slots__ = ()

    def __call__(self, items: Any = ()) -> _Names:
        return _Names(items)


class _Rebuild:
    """Called where the pickle makes a tensor: a view of a storage."""

    __slots__ = ()

    def __call__(self, storage, offset, size, stride, requires_grad=False, hooks=None, metadata=None) -> Tensor:
        if not isinstance(storage, _Storage) or len(size) != len(stride):
            raise ValueError("a tensor is not of a storage")
        if storage.dtype not in KEPT:
            return Tensor(storage.dtype, None)
        dtype = np.dtype(storage.dtype)
        if any(type(n) is not int or n < 0 for n in (offset, *size, *stride)):
            raise ValueError("a tensor has sizes that are none")
        strides = [step * dtype.itemsize for step in stride]
        array = np.ndarray(size, dtype, storage.data, offset * dtype.itemsize, strides)
        return Tensor(storage.dtype, array.copy(order="C"))


class _RebuildParameter:
    """Called where the pickle makes a parameter of a tensor, which is the same here."""

    __slots__ = ()

    def __call__(self, data, requires_grad=False, hooks=None) -> Tensor:
        return data


class ForbiddenError(Exception):
    """The pickle names what a state dict does not need."""


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, storages: Mapping[str, bytes], order: str):
        super().__init__(io.BytesIO(data), encoding="utf-8")
        self._storages, self._order = storages, order

    def find_class(self, module: str, name: str) -> Any:
        known: dict[tuple[str, str], Any] = {
            ("collections", "OrderedDict"): _OrderedDict(),
            ("torch._utils", "_rebuild_tensor_v2"): _Rebuild(),
            ("torch._utils", "_rebuild_parameter"): _RebuildParameter(),
            **{("torch", storage): _Dtype(code) for storage, code in DTYPES.items()},
        }
        if (module, name) not in known:
            raise ForbiddenError(f"{module}.{name}")
        return known[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _, count = pid
        if kind != "storage" or not isinstance(dtype, _Dtype) or key not in self._storages:
            raise ValueError(f"the storage {key!r} is not in the file")
        data = self._storages[key]
        if dtype.code in KEPT:
            size = np.dtype(dtype.code).itemsize
            if len(data) != count * size:
                raise ValueError(f"the storage {key!r} has {len(data)} bytes, expected {count * size}")
            if dtype.code == "?" and not set(data) <= {0, 1}:
                raise ValueError(f"the storage {key!r} holds bytes that are neither true nor false")
            if self._order != sys.byteorder:
                data = np.frombuffer(data, dtype.code).byteswap().tobytes()
        return _Storage(dtype.code, data)


def parse_state_dict(data: bytes, path: str | os.PathLike | zipfile.Path) -> dict[str, np.ndarray]:
    """Arrays by key of a ``.pt`` file whose bytes were read from ``path``, which messages name.

    Every part is compared with its checksum in the zip.

    Raises:
        CheckpointError: it is damaged, no file of ``torch.save``, or holds anything but tensors of float32 and bool.
    """
    parts = _parts(data, path)
    pickles = [name for name in parts if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(pickles) != 1:
        raise CheckpointError(f"{path} was not written by torch.save: it is a zip of other files.")
    folder = pickles[0].partition("/")[0]
    storages = {name.rpartition("/")[2]: part for name, part in parts.items() if name.startswith(f"{folder}/data/")}
    order = parts.get(f"{folder}/byteorder", b"little").decode(errors="replace")
    try:
        _require_known_codes(parts[pickles[0]])
        state = _Unpickler(parts[pickles[0]], storages, order).load()
    except ForbiddenError as error:
        raise CheckpointError(
            f"{path} holds more than tensors and was not opened, because that can run code: it names {error}. Save "
            "only the state_dict() of the model with torch.save."
        ) from None
    except Exception as error:  # a pickle that is none ends in whatever its codes happen to do
        raise CheckpointError(f"{path} is no state dict of tensors: {error}.") from error
    return _arrays(state, path)


def _parts(data: bytes, path) -> dict[str, bytes]:
    parts: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for info in archive.infolist():
                if info.compress_type != zipfile.ZIP_STORED:
                    raise ValueError(f"{info.filename} is compressed, which torch.save does not do")
                try:
                    parts[info.filename] = archive.read(info)
                except zipfile.BadZipFile as error:
                    raise CheckpointError(
                        f"{path} is damaged: its part {info.filename} fails its checksum. Get the file again."
                    ) from error
    except CheckpointError:
        raise
    except Exception as error:  # flipped bits in the headers raise RuntimeError, UnicodeDecodeError, ...
        raise CheckpointError(
            f"{path} is not a whole file written by torch.save ({error}): it is cut, damaged, or something else. Get "
            f"it again. One of before PyTorch 1.6 is saved again by: {SAVE_AGAIN}"
        ) from error
    return parts


def _require_known_codes(data: bytes) -> None:
    for code, argument, _ in pickletools.genops(data):
        if code.name == "PROTO" and argument != PROTOCOL:
            raise ValueError(f"it was saved with pickle_protocol={argument}, expected {PROTOCOL}, torch.save's default")
        if code.name not in CODES:
            raise ForbiddenError(f"the code {code.name} of pickle")
        # The memory of what was read grows with the largest number, whatever the size of the file.
        if code.name in ("BINPUT", "LONG_BINPUT") and (argument or 0) > len(data):
            raise ValueError(f"its pickle counts to {argument} in {len(data)} bytes")


def _arrays(state: Any, path) -> dict[str, np.ndarray]:
    if not isinstance(state, dict) or not state:
        raise CheckpointError(f"{path} holds a {type(state).__name__}, expected a state dict: names to tensors.")
    foreign = [str(key) for key, value in state.items() if not (isinstance(key, str) and isinstance(value, Tensor))]
    if foreign:
        raise CheckpointError(f"{path} is no state dict: {foreign[:5]} are not names of tensors.")
    strange = [
        f"{key} is torch.{TORCH_NAMES.get(tensor.dtype, tensor.dtype)}"
        for key, tensor in state.items()
        if tensor.array is None
    ]
    if strange:
        raise CheckpointError(
            f"{path} holds {len(strange)} tensors that are not float32 ({', '.join(strange[:5])}). Save the model's "
            "state_dict() in float32: model.float().state_dict()."
        )
    return {key: tensor.array for key, tensor in state.items()}
