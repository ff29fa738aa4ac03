"""A module of the released network: what it holds under the released names, and its place in the network."""

import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fnn_jax.released import missing, paths
from fnn_jax.released.missing import no_equal
from fnn_jax.released.values import Values

if TYPE_CHECKING:
    from fnn_jax.released.visual import Visual


class Module:
    """A module of a ``Visual`` network, by its path such as ``core.recurrent``.

    Attributes are modules (``model.core``), values (``model.readout.position.mu``), and sizes (``model.streams``).
    Lists of modules or parameters have indices, a length, and are iterated over.
    """

    training = False
    frozen = False
    device = "cpu"  # of tensors that come in and go out, whatever device JAX computes on

    def __init__(self, network: "Visual", path: str):
        self._network, self._path = network, path

    def __repr__(self) -> str:
        return f"<{self._path} of {self._network!r}>"

    def __bool__(self) -> bool:
        return True

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):
            raise no_equal(f"Setting {self._full(name)}", missing.CHANGES)
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        path = self._full(name)
        found = self._network._find(path)
        if found is not None:
            return found
        if name in missing.NO_EQUAL:
            raise no_equal(path, missing.NO_EQUAL[name])
        raise no_equal(path, "model.state_dict() holds all weights, model.twin is the twin: see docs/released.md.")

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Of ``readout.bound`` the positions in [-1, 1]; other modules are not called.

        Raises:
            NoEqualError: it is another module.
        """
        if self._path == "readout.bound" and len(args) == 1 and not options:
            if self._network.twin.config.readout.bound == "tanh":
                return np.tanh(args[0])
            return 1 / (1 + np.exp(-args[0]))
        raise no_equal(f"Calling {self._path}", missing.MODULES)

    # Lists of modules and parameters

    def __len__(self) -> int:
        if self._path.endswith(".skips"):  # whose first place is empty
            return len(self._network._find(self._path.removesuffix("skips") + "convs"))
        numbers = [int(name) for name in self._names() if name.isdigit()]
        if not numbers:
            raise TypeError(f"{self!r} is no list: it has the parts {sorted(self._names())}.")
        return max(numbers) + 1

    def __getitem__(self, index: Any) -> Any:
        """By a number or a slice; None, where the released list has an empty place."""
        length = len(self)
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(length))]
        if not -length <= index < length:
            raise IndexError(f"{self!r} has {length} parts; there is no part {index}.")
        return self._network._find(self._full(str(index % length)))

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    # Weights

    def state_dict(self) -> dict[str, Values]:
        """Values by the released key, below this module; read-only, in the released layout."""
        return {self._below(key): value for key, value in self._network._state().items() if self._has(key)}

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Values]]:
        return self._named(prefix, buffers=False)

    def named_buffers(self, prefix: str = "") -> Iterator[tuple[str, Values]]:
        return self._named(prefix, buffers=True)

    def parameters(self) -> Iterator[Values]:
        return (value for _, value in self.named_parameters())

    def buffers(self) -> Iterator[Values]:
        return (value for _, value in self.named_buffers())

    # Modules

    def named_modules(self) -> Iterator[tuple[str, "Module"]]:
        """This module, whose path is empty, and all below it."""
        for path in self._network._paths():
            if path == self._path or self._has(path):
                yield self._below(path), self._network._find(path)

    def modules(self) -> Iterator["Module"]:
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, "Module"]]:
        return ((name, module) for name, module in self.named_modules() if name and "." not in name)

    def children(self) -> Iterator["Module"]:
        return (module for _, module in self.named_children())

    def module(self, name: str) -> Any:
        """What lies at a path below this module, such as ``"core.feedforward.blocks.0"``."""
        return functools.reduce(getattr, name.split("."), self)

    def register_forward_hook(self, hook: Callable[["Module", tuple, Any], None], **options: Any) -> "Handle":
        """Call ``hook(module, inputs, output)`` after each frame, with the module's output in the released layout.

        ``inputs`` is empty: what goes into a module is the output of others.

        Raises:
            NoEqualError: the output of this module is no feature that the twin knows; those that are, are named.
        """
        if any(options.values()):
            raise no_equal(f"register_forward_hook with {sorted(options)}", missing.HOOKS)
        known = self._network._outputs()
        if self._path not in known:
            names = ", ".join(path or "the network" for path in known)
            raise no_equal(f"A hook on {self._path}", f"Modules that can have one: {names}.")
        if not callable(hook):
            raise TypeError(f"hook is {hook!r}; expected a function of a module, its inputs and its output.")
        return self._network._add_hook(self._path, hook)

    # Modes and devices

    def eval(self) -> Self:
        return self

    def train(self, mode: bool = True) -> Self:
        """Nothing for ``train(False)``: a twin always predicts.

        Raises:
            NoEqualError: ``mode`` is true.
        """
        if mode:
            raise no_equal("Training mode", missing.TRAINING)
        return self

    def freeze(self, mode: bool = True) -> Self:
        return self.train(not mode)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Nothing for ``requires_grad_(False)``.

        Raises:
            NoEqualError: ``requires_grad`` is true.
        """
        if requires_grad:
            raise no_equal("requires_grad_()", missing.GRADIENTS)
        return self

    def float(self) -> Self:
        return self

    def cpu(self) -> Self:
        """Let JAX compute on the CPU."""
        return self.to("cpu")

    def cuda(self, device: Any = None) -> Self:
        """Let JAX compute on its default device, which is a GPU where it sees one."""
        return self.to("cuda")

    def to(self, *places: Any, device: Any = None, dtype: Any = None, non_blocking: bool = False) -> Self:
        """Let the whole network compute on the CPU (``"cpu"``) or on JAX's default device (``"cuda"``).

        Raises:
            NoEqualError: another device, or another dtype than float32.
        """
        for place in (*places, device, dtype):
            text = str(place)
            if text.partition(":")[0] in ("cpu", "cuda"):
                self._network._move(text.partition(":")[0])
            elif not (place is None or isinstance(place, bool) or text.endswith("float32")):
                raise no_equal(f"to({text})", missing.PRECISION)
        return self

    # Paths

    def _full(self, name: str) -> str:
        return f"{self._path}.{name}" if self._path else name

    def _has(self, path: str) -> bool:
        return not self._path or path.startswith(f"{self._path}.")

    def _below(self, path: str) -> str:
        return path if not self._path else path[len(self._path) + 1 :]

    def _names(self) -> set[str]:
        """Modules and values directly below."""
        known = (*self._network._state(), *self._network._paths())
        return {self._below(path).partition(".")[0] for path in known if path and self._has(path)}

    def _named(self, prefix: str, buffers: bool) -> Iterator[tuple[str, Values]]:
        config = self._network.twin.config
        for key, value in self._network._state().items():
            if self._has(key) and paths.is_buffer(key, config) == buffers:
                yield f"{prefix}.{self._below(key)}".lstrip("."), value


class Handle:
    """A registered hook; ``remove()`` ends it, and so does the end of a ``with`` block."""

    def __init__(self, hooks: dict[int, Any], number: int):
        self._hooks, self.id = hooks, number

    def remove(self) -> None:
        self._hooks.pop(self.id, None)

    def __enter__(self) -> "Handle":
        return self

    def __exit__(self, *exception: Any) -> None:
        self.remove()
