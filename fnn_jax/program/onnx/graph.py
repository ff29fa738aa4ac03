"""A graph of ONNX that is written node by node."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx

OPSET = 20  # the first with an operator for the exact gelu
IR_VERSION = 9  # the version of the file's form that came with it
SMALL = 1024  # bytes of constants that always stay in the model: shapes are inferred from them


class Graph:
    """Nodes and constants, in the order in which they are added; values are named, and arrays have no batch yet.

    The first axis of most values is a batch of any size, which shapes of ``reshape`` leave open: -1.
    """

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self._unnamed: dict[tuple, str] = {}
        self._count = 0

    def input(self, name: str, dtype: str, shape: Sequence[int | str]) -> str:
        """An argument of the graph; axes of any size have names."""
        self.inputs.append(_value(name, dtype, shape))
        return name

    def output(self, name: str, value: str, shape: Sequence[int | str]) -> None:
        """A result of the graph, float32: a value that some node makes, which gets this name.

        It is renamed, not copied by an ``Identity``, for which WebGPU has no kernel: a state stays on the GPU.
        """
        for node in self.nodes:
            for names in (node.input, node.output):
                names[:] = [name if each == value else each for each in names]
        self.outputs.append(_value(name, "float32", shape))

    def constant(self, array: Any, name: str | None = None) -> str:
        """An array that is stored; the small ones without a name are stored once, whoever needs them."""
        array = np.ascontiguousarray(array)
        if name is None:
            key = (array.dtype.str, array.shape, array.tobytes())
            name = self._unnamed.setdefault(key, f"constant_{len(self._unnamed)}")
        self.constants[name] = array
        return name

    def number(self, value: float) -> str:
        """A float32."""
        return self.constant(np.float32(value))

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """A node with one result, whose name is returned."""
        return self.several(operator, 1, *inputs, **attributes)[0]

    def several(self, operator: str, results: int, *inputs: str, **attributes: Any) -> list[str]:
        """A node with several results."""
        self._count += 1
        name = f"{operator}_{self._count}"
        outputs = [name] if results == 1 else [f"{name}.{index}" for index in range(results)]
        self.nodes.append(_node(operator, list(inputs), outputs, name, **attributes))
        return outputs

    def reshape(self, value: str, *shape: int) -> str:
        """The same values in another shape: 0 keeps an axis, -1 is what remains."""
        return self.add("Reshape", value, self.constant(np.array(shape, np.int64)))

    def concatenate(self, values: Sequence[str], axis: int) -> str:
        return values[0] if len(values) == 1 else self.add("Concat", *values, axis=axis)

    def split(self, value: str, sizes: Sequence[int], axis: int) -> list[str]:
        return self.several("Split", len(sizes), value, self.constant(np.array(sizes, np.int64)), axis=axis)

    def slice(self, value: str, start: int, stop: int, axis: int) -> str:
        bounds = (self.constant(np.array([each], np.int64)) for each in (start, stop, axis))
        return self.add("Slice", value, *bounds)

    def frames(self, value: str, count: int) -> list[str]:
        """Each frame of ``[batch, frames, ...]``, with an axis of one; no ``Split``, whose results WebGPU counts."""
        return [value] if count == 1 else [self.slice(value, index, index + 1, axis=1) for index in range(count)]

    def sum_over(self, value: str, axes: Sequence[int], keepdims: bool) -> str:
        return self.add("ReduceSum", value, self.constant(np.array(axes, np.int64)), keepdims=int(keepdims))

    def weight_bytes(self) -> int:
        return sum(array.nbytes for array in self.constants.values())

    def cut_constants(self, external_mb: float) -> None:
        """Cut constants of more than so many megabytes along their first axis, and let the graph put them together.

        Raises:
            ValueError: a row alone is larger.
        """
        most, joins = int(external_mb * 1e6), []
        for name, array in list(self.constants.items()):
            if array.nbytes <= max(most, SMALL):
                continue
            rows = most // math.prod(array.shape[1:]) // array.itemsize
            if rows == 0:
                raise ValueError(
                    f"external_mb is {external_mb:g}, but one row of {name} takes {array[0].nbytes / 1e6:g} MB. "
                    "Give a larger number."
                )
            del self.constants[name]
            parts = [f"{name}.part{index}" for index in range(-(-len(array) // rows))]
            for index, part in enumerate(parts):
                self.constants[part] = np.ascontiguousarray(array[index * rows : (index + 1) * rows])
            joins.append(_node("Concat", parts, [name], name, axis=0))
        self.nodes[:0] = joins

    def model(self, producer_version: str, metadata: dict[str, str]) -> "onnx.ModelProto":
        """The whole, with every constant inside."""
        import onnx
        from onnx import helper, numpy_helper

        constants = [numpy_helper.from_array(array, name) for name, array in self.constants.items()]
        graph = helper.make_graph(self.nodes, "fnn_jax", self.inputs, self.outputs, constants)
        model: onnx.ModelProto = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="fnn_jax",
            producer_version=producer_version,
        )
        helper.set_model_props(model, metadata)
        return model


def _node(operator: str, inputs: list[str], outputs: list[str], name: str, **attributes: Any) -> "onnx.NodeProto":
    from onnx import helper

    return helper.make_node(operator, inputs, outputs, name, **attributes)


def _value(name: str, dtype: str, shape: Sequence[int | str]) -> "onnx.ValueInfoProto":
    from onnx import helper

    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)
