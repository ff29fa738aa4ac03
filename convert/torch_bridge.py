"""The module behind ``torch_module``. Torch is imported here: import this file where it is needed, inside functions."""

import copy
import functools
import operator
from collections.abc import Callable, Collection
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

from fnn_jax.model.network import Inputs, NetworkState
from fnn_jax.model.parameters import named_parameters, network_from_parameters
from fnn_jax.twin.inputs import NAMES, check_frame, check_inputs
from fnn_jax.twin.prediction import batch_of
from fnn_jax.twin.twin import Twin

FRAME_NAMES = ("frame", "perspective", "modulation")
STATIC = ("config", "periphery", "precision")
PLATFORMS = {1: "cpu", 2: "gpu", 10: "gpu"}  # what DLPack's numbers of the memory of CPUs, CUDA and ROCm are in JAX


class TorchTwin(torch.nn.Module):
    """A twin for PyTorch; ``torch_module`` makes one.

    Inputs are tensors, on any device, in the forms of ``Twin.predict``: ``stimuli`` ``[T, H, W]``, ``[T, H, W, C]`` or
    ``[T, N, H, W, C]``, uint8 or floats in [0, 1]; ``perspectives`` and ``modulations`` ``[T, 2]`` or ``[T, N, 2]``,
    z-scored, default zeros. Floats of other kinds become the network's, float32, and need not be contiguous. Responses
    are ``[T, units]``, or ``[T, N, units]`` where any input has a batch axis, float32, on the device of the stimuli.

    Gradients reach float stimuli, both traces and the module's parameters, where they require them. They flow
    through all frames of one call, and not through a state from one call to the next. Second derivatives do not exist.

    Errors are those of ``Twin.predict`` and ``Twin.step``, and a ``TypeError`` for what is no dense tensor.
    """

    def __init__(self, twin: Twin, periphery: str, stream: int | None, precision: str, parameters: bool):
        super().__init__()
        self.twin = twin
        self.periphery, self.stream, self.precision = periphery, stream, precision
        self._arrays = named_parameters(twin.network)
        self._dtype = getattr(torch, str(self._arrays["perspective.monitor.center"].dtype))
        trained = nnx.to_flat_state(nnx.state(twin.network, nnx.Param)) if parameters else ()
        self._trained = tuple(".".join(map(str, path)) for path, _ in trained)
        for name in self._trained:
            # A copy: an optimiser writes into it, and the twin's arrays do not change.
            _place(self, name, torch.nn.Parameter(torch.from_numpy(np.array(self._arrays[name]))))

    def forward(
        self,
        stimuli: torch.Tensor,
        perspectives: torch.Tensor | None = None,
        modulations: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Responses of all units, as ``Twin.predict`` and ``Twin.rollout`` give them; the state starts anew."""
        _, responses, is_batch = self._respond(check_inputs, NAMES, None, stimuli, perspectives, modulations)
        return responses if is_batch else responses[:, 0]

    def init_state(self, batch: int = 1) -> NetworkState:
        """The state before the first frame of ``batch`` videos, for ``rollout`` and ``step``.

        It holds arrays of JAX without gradients: keep it and hand it on. No call changes it.
        """
        return self.twin.init_state(batch)

    def rollout(
        self,
        state: NetworkState,
        stimuli: torch.Tensor,
        perspectives: torch.Tensor | None = None,
        modulations: torch.Tensor | None = None,
    ) -> tuple[NetworkState, torch.Tensor]:
        """The state after these frames, and responses as of ``forward``, continuing from ``state``.

        Gradients do not flow through the state to earlier calls. Responses have a batch axis where the state is of
        several videos, too.
        """
        state, responses, is_batch = self._respond(check_inputs, NAMES, state, stimuli, perspectives, modulations)
        return state, responses if is_batch else responses[:, 0]

    def step(
        self,
        state: NetworkState,
        frame: torch.Tensor,
        perspective: torch.Tensor | None = None,
        modulation: torch.Tensor | None = None,
    ) -> tuple[NetworkState, torch.Tensor]:
        """``rollout`` of one frame, all without the axis of time: ``[H, W]``, traces ``[2]``, responses ``[units]``."""
        state, responses, is_batch = self._respond(check_frame, FRAME_NAMES, state, frame, perspective, modulation)
        return state, responses[0] if is_batch else responses[0, 0]

    def to_twin(self) -> Twin:
        """A new twin with the parameters as they are now, marked as changed."""
        twin = copy.copy(self.twin)
        trained = {name: _to_jax(operator.attrgetter(name)(self), self._device) for name in self._trained}
        arrays = {name: array.copy() for name, array in trained.items()}  # an optimiser goes on writing
        twin.network = network_from_parameters(twin.config, self._arrays | arrays)
        return twin

    def extra_repr(self) -> str:
        return f"{self.twin!r}, periphery={self.periphery!r}, stream={self.stream}, precision={self.precision!r}"

    @property
    def _device(self) -> jax.Device:  # which cannot be copied or pickled
        return next(iter(self._arrays["perspective.monitor.center"].devices()))

    def _respond(
        self, check: Callable, names: tuple[str, ...], state: NetworkState | None, *given: torch.Tensor | None
    ) -> tuple[NetworkState, torch.Tensor, bool]:
        """The new state, responses ``[T, N, units]``, and whether their batch axis is wanted."""
        floats = [self._float(name, tensor) for name, tensor in zip(names, given, strict=True)]
        # Checked are views, or copies on the host; what is computed with are the tensors, for their gradients.
        checked = check(*(None if a is None else a.detach().cpu().numpy() for a in floats), self.twin.config)
        batch = checked.batch if state is None else batch_of(state, self.twin.network)
        if checked.batch not in (1, batch):
            raise ValueError(
                f"{names[0]}, {names[1]} and {names[2]} have a batch of {checked.batch}, the state one of {batch}. "
                f"Make the state with init_state({checked.batch})."
            )
        stimuli = floats[0].reshape(checked.stimuli.shape)
        sizes = self.twin.config.perspective.eye_features, self.twin.config.modulation.behaviour_features
        tensors = {"stimuli": stimuli}
        for name, tensor, array, size in zip(NAMES[1:], floats[1:], checked[1:3], sizes, strict=True):
            if tensor is None:
                tensors[name] = torch.zeros((checked.frames, 1, size), dtype=self._dtype, device=stimuli.device)
            else:
                tensors[name] = tensor.reshape(array.shape).to(self._dtype)
        tensors |= {name: operator.attrgetter(name)(self).to(self._dtype) for name in self._trained}
        state = self.init_state(batch) if state is None else state
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors.values()):
            responses, state = _Differentiable.apply(self, state, tuple(tensors), *tensors.values())
        else:
            responses, state = self._compute(_responses, state, tensors)
            responses = _to_torch(responses, self._device, stimuli)
        return state, responses, checked.is_batch or batch > 1

    def _float(self, name: str, tensor: Any) -> Any:
        """A tensor whose floats are the network's; autograd takes the gradient back to those that came."""
        if tensor is None:
            return None
        if not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided:
            kind = f"a tensor of {tensor.layout}" if isinstance(tensor, torch.Tensor) else type(tensor).__name__
            raise TypeError(
                f"{name} is {kind}; expected a dense torch.Tensor. Make one with torch.as_tensor or to_dense, or hand "
                "arrays to twin.predict."
            )
        return tensor.to(self._dtype) if tensor.is_floating_point() else tensor

    def _compute(self, function: Callable, state: NetworkState, tensors: dict, wanted: Collection[str] = ()) -> Any:
        """A compiled function of the network's arrays and the tensors, of which ``wanted`` get gradients."""
        arrays = self._arrays | {name: _to_jax(tensor, self._device) for name, tensor in tensors.items()}
        wanted = {name: arrays.pop(name) for name in wanted}
        stream = None if self.stream is None else np.int32(self.stream)
        options = {"periphery": self.periphery, "precision": self.precision}
        return function(wanted, arrays, state, stream, config=self.twin.config, **options)


def _rollout(wanted, others, state, stream, *, config, periphery, precision):
    arrays = wanted | others
    batch = len(jax.tree.leaves(state)[0])
    inputs = [arrays.pop(name) for name in NAMES]
    inputs = Inputs(*(jnp.broadcast_to(array, (len(array), batch, *array.shape[2:])) for array in inputs))
    network = network_from_parameters(config, arrays)
    state, output = network.rollout(state, inputs, stream=stream, periphery=periphery, precision=precision)
    return output.responses, state


_responses = jax.jit(_rollout, static_argnames=STATIC)


@functools.partial(jax.jit, static_argnames=STATIC)
def _responses_and_pull(wanted, others, state, stream, **options):
    """Responses, the function that pulls their gradient back to ``wanted``, with what it needs, and the state."""
    return jax.vjp(lambda wanted: _rollout(wanted, others, state, stream, **options), wanted, has_aux=True)


@jax.jit
def _gradients(pull, cotangent):
    return pull(cotangent)[0]


class _Differentiable(torch.autograd.Function):
    """Responses, and their gradient by JAX. Autocast has no say in it: it is about functions of torch."""

    @staticmethod
    def forward(ctx, module, state, names, *tensors):
        ctx.wanted = [name for name, needed in zip(names, ctx.needs_input_grad[3:], strict=True) if needed]
        tensors_by_name = dict(zip(names, tensors, strict=True))
        responses, ctx.pull, state = module._compute(_responses_and_pull, state, tensors_by_name, ctx.wanted)
        ctx.names, ctx.device = names, module._device
        # What is pulled back may lie in the memory of these tensors: torch watches over them.
        ctx.save_for_backward(*tensors)
        # A copy: torch may write into responses, which the gradient may need.
        return _to_torch(responses, module._device, tensors[0]).clone(), state

    @staticmethod
    def backward(ctx, cotangent, _):
        tensors = dict(zip(ctx.names, ctx.saved_tensors, strict=True))
        found = _gradients(ctx.pull, _to_jax(cotangent, ctx.device))
        gradients = [_to_torch(found[name], ctx.device, tensors[name]) for name in ctx.wanted]
        if torch.is_grad_enabled():  # create_graph=True
            gradients = _DifferentiatedOnce.apply(len(gradients), *gradients, cotangent, *tensors.values())
        by_name = dict(zip(ctx.wanted, gradients, strict=True))
        return None, None, None, *(by_name.get(name) for name in ctx.names)


class _DifferentiatedOnce(torch.autograd.Function):
    """Gradients as they are, which refuse to be differentiated."""

    @staticmethod
    def forward(ctx, count, *tensors):
        return tuple(tensor.clone() for tensor in tensors[:count])

    @staticmethod
    def backward(ctx, *cotangents):
        raise RuntimeError(
            "A second derivative of a twin was asked for; expected first ones alone. Its gradients come from JAX, by "
            "rules that have no gradient themselves. Keep the gradient out of the loss, or leave create_graph=True "
            "away; in JAX second derivatives are those of twin.network.rollout(..., derivatives='forward')."
        )


def _to_jax(tensor: torch.Tensor, device: jax.Device) -> jax.Array:
    """The tensor's memory as an array of JAX on this device, or a copy where it lies elsewhere."""
    tensor = tensor.detach().contiguous()
    if PLATFORMS.get(tensor.__dlpack_device__()[0]) == device.platform:
        return jax.dlpack.from_dlpack(tensor, device=device)
    return jax.device_put(tensor.cpu().numpy(), device)


def _to_torch(array: jax.Array, device: jax.Device, like: torch.Tensor) -> torch.Tensor:
    """The memory of an array that lies on this device as a tensor, or a copy where another tensor lies."""
    if PLATFORMS.get(like.__dlpack_device__()[0]) == device.platform:
        # When it is computed, so are the arrays beside it, and nothing reads the tensors that came in any more.
        return torch.from_dlpack(array.block_until_ready() if device.platform == "cpu" else array).to(like.device)
    return torch.from_numpy(np.array(array)).to(like.device)


def _place(module: torch.nn.Module, name: str, parameter: torch.nn.Parameter) -> None:
    """Make it the parameter of this dotted name, which torch has for modules inside modules alone."""
    *path, last = name.split(".")
    for part in path:
        if part not in module._modules:
            module.add_module(part, torch.nn.Module())
        module = module.get_submodule(part)
    module.register_parameter(last, parameter)
