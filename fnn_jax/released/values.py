"""Arrays in and out: NumPy's, and PyTorch's tensors where a program brings them. PyTorch is not imported otherwise."""

from typing import Any

import numpy as np

from fnn_jax.released.missing import GRADIENTS, no_equal


class Values(np.ndarray):
    """A NumPy array that has the names, too, by which programs take a tensor to NumPy.

    ``values.detach().cpu().numpy()`` is the array. Values of a network are read-only, as writing to them would not
    change it; ``clone()`` gives a copy to write to.
    """

    requires_grad = False
    is_cuda = False
    grad = None

    @property
    def data(self) -> "Values":  # type: ignore[override]
        """Itself; the buffer that NumPy has under this name is ``memoryview(values)``."""
        return self

    def detach(self) -> "Values":
        return self

    def cpu(self) -> "Values":
        return self

    def cuda(self, *_: Any) -> "Values":
        return self

    def to(self, *places: Any, non_blocking: bool = False) -> "Values":
        """Itself, wherever it is to go; for another dtype there is ``astype``."""
        for place in places:
            if not str(place).startswith(("cpu", "cuda")):
                raise no_equal(f"to({place})", "Where the dtype is to change: values.astype(...).")
        return self

    def numpy(self) -> np.ndarray:
        """A plain array of the same memory."""
        return self.view(np.ndarray)

    def clone(self) -> "Values":
        """A copy, which can be written to."""
        return self.copy()

    def float(self) -> "Values":
        return self.astype(np.float32).view(Values)

    def double(self) -> "Values":
        return self.astype(np.float64).view(Values)

    def numel(self) -> int:
        return int(self.size)

    def dim(self) -> int:
        return self.ndim


def read_only(array: Any) -> Values:
    """An array as values that cannot be written to."""
    values = np.asarray(array).view(Values)
    values.flags.writeable = False
    return values


def is_tensor(value: Any) -> bool:
    """Whether something is a tensor of PyTorch, which is not imported for that."""
    return any(kind.__module__ == "torch" and kind.__name__ == "Tensor" for kind in type(value).__mro__)


def to_numpy(name: str, value: Any) -> Any:
    """The array of a tensor; everything else as it is.

    Raises:
        NoEqualError: PyTorch keeps a record for its gradient.
    """
    if not is_tensor(value):
        return value
    if value.requires_grad:
        from fnn_jax.convert.published import require_torch

        if require_torch().is_grad_enabled():
            raise no_equal(f"backward through the network ({name}.requires_grad is True)", GRADIENTS)
    return value.detach().cpu().numpy()


def as_given(array: np.ndarray, tensor: bool) -> Any:
    """A tensor with the values of an array where ``tensor`` is true, else the array."""
    if not tensor:
        return array
    from fnn_jax.convert.published import require_torch

    return require_torch().from_numpy(np.array(array))
