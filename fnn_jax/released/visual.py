"""A twin with the interface of the released network."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn_jax.model.network import Output
from fnn_jax.model.parameters import network_from_parameters, parameter_arrays
from fnn_jax.released import inputs, missing, paths
from fnn_jax.released.missing import no_equal
from fnn_jax.released.modules import Handle, Module
from fnn_jax.released.running import Running
from fnn_jax.released.values import Values, as_given, is_tensor, read_only, to_numpy
from fnn_jax.twin.finite import warn_of_responses
from fnn_jax.twin.inputs import CheckedInputs, check_inputs
from fnn_jax.twin.twin import Twin


class Visual(Module):
    """The released network's methods, attributes and hidden state, over a twin.

    Arrays that come out are NumPy's, or PyTorch's tensors where frames came in as such. Gradients and training are not
    here: their errors name the way.

    Args:
        twin: any twin; ``model.twin`` is it.

    Raises:
        TypeError: it is no twin.
    """

    def __init__(self, twin: Twin):
        if not isinstance(twin, Twin):
            raise TypeError(f"twin is {type(twin).__name__}; expected a Twin, as of fnn_jax.microns.scan.")
        super().__init__(self, "")
        self._running = Running(twin)
        self._hooks: dict[int, tuple[str, Callable]] = {}
        self._added = 0
        self._modules: dict[str, Module] = {"": self}
        self._values: dict[str, Values] | None = None

    def __repr__(self) -> str:
        return f"Visual({self.twin!r})"

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_values": None}  # copies of them could be written to

    @property
    def twin(self) -> Twin:
        """The twin that computes."""
        return self._running.twin

    @property
    def default_perspective(self) -> np.ndarray:
        return np.zeros(self.twin.config.perspective.eye_features)

    @property
    def default_modulation(self) -> np.ndarray:
        return np.zeros(self.twin.config.modulation.behaviour_features)

    def reset(self) -> "Visual":
        """Forget all frames: the next one is the first."""
        self._running.reset()
        return self

    def predict(self, stimuli: Any, perspectives: Any = None, modulations: Any = None) -> Any:
        """Responses to a video from its beginning; the state after its last frame stays.

        Args:
            stimuli: ``T`` frames ``[H, W]``, ``[H, W, C]`` or ``[N, H, W, C]`` in an array, a list or an iterator;
                uint8 (or floats in [0, 1]).
            perspectives, modulations: ``T`` rows ``[P]`` or ``[N, P]``, and ``[M]`` or ``[N, M]``; default zeros.

        Returns:
            ``[T, U]``, or ``[T, N, U]`` where any input had a batch axis.

        Raises:
            TypeError, ValueError: see ``Twin.predict``. Where one of the inputs is longer than the others, its end is
                left out, with a warning.
        """
        arrays, tensor = inputs.series(stimuli, perspectives, modulations)
        checked = check_inputs(*arrays, self.twin.config, traceable=False)
        responses = []
        for frames, output in self._running.video(checked, self._hooked()):
            responses.append(np.array(output.responses[:frames]))
            for frame in range(frames):
                self._call_hooks(output, frame, None, tensor)
        found = np.concatenate(responses)
        if not np.isfinite(found).all():
            warn_of_responses("responses", self.twin.first_not_finite(checked))
        return as_given(found if checked.is_batch else found[:, 0], tensor)

    def generate_response(
        self,
        stimuli: Iterable[Any],
        perspectives: Iterable[Any] | None = None,
        modulations: Iterable[Any] | None = None,
        training: bool = False,
        reset: bool = True,
    ) -> Iterator[Any]:
        """``predict`` frame by frame: each frame is taken when its response is asked for, which closed loops need.

        With ``reset=False`` it goes on from the frames before. Yields ``[U]``, or ``[N, U]`` of a batch.

        Raises:
            NoEqualError: ``training`` is true. ValueError: see ``Twin.step``, and for another batch without a reset.
        """
        self.train(training)

        def responses():
            if reset:
                self.reset()
            for frame, perspective, modulation in inputs.frames(stimuli, perspectives, modulations):
                checked = inputs.one_frame(frame, perspective, modulation, self.twin.config)
                tensor = is_tensor(frame)
                found = np.array(self._advance(checked, None, "dark", tensor).responses[0])
                yield as_given(found if checked.is_batch else found[0], tensor)

        return responses()

    def generate_loss(
        self,
        units: Iterable[Any],
        stimuli: Iterable[Any],
        perspectives: Iterable[Any] | None = None,
        modulations: Iterable[Any] | None = None,
        stream: int | None = None,
        training: bool = False,
        reset: bool = True,
    ) -> Iterator[Any]:
        """The loss of each unit, frame by frame, of recorded responses ``units``, ``T`` rows ``[U]`` or ``[N, U]``.

        Else as ``generate_response``; ``stream`` is one stream alone.
        """
        self.train(training)

        def losses():
            if reset:
                self.reset()
            for unit, (frame, *traces) in zip(units, inputs.frames(stimuli, perspectives, modulations), strict=False):
                checked = inputs.one_frame(frame, traces[0], traces[1], self.twin.config)
                tensor = is_tensor(frame)
                found = self._loss(self._advance(checked, stream, "dark", tensor), unit, checked.is_batch)
                yield as_given(found, tensor)

        return losses()

    def __call__(
        self, stimulus: Any, perspective: Any, modulation: Any, stream: int | None = None, periphery: str = "dark"
    ) -> Any:
        """The responses ``[N, U]`` to one frame, after those before: the hidden state moves on.

        Args:
            stimulus: ``[N, C, H, W]``, floats in [0, 1].
            perspective, modulation: ``[N, P]`` and ``[N, M]``.
            stream: one stream alone, or the mean over the streams.
            periphery: ``"dark"`` or ``"extend"``.

        Raises:
            TypeError, ValueError: inputs of other forms, or another batch or stream without a reset.
            NoEqualError: an input needs a gradient.
        """
        checked = inputs.forward_frame(stimulus, perspective, modulation, self.twin.config)
        tensor = is_tensor(stimulus)
        return as_given(np.array(self._advance(checked, stream, periphery, tensor).responses[0]), tensor)

    forward = __call__

    def loss(self, stimulus: Any, perspective: Any, modulation: Any, unit: Any, stream: int | None = None) -> Any:
        """As a call, but the loss ``[N, U]`` of recorded responses ``unit``, ``[N, U]``."""
        checked = inputs.forward_frame(stimulus, perspective, modulation, self.twin.config)
        tensor = is_tensor(stimulus)
        return as_given(self._loss(self._advance(checked, stream, "dark", tensor), unit, True), tensor)

    def to_tensor(self, stimulus: Any, perspective: Any = None, modulation: Any = None) -> tuple[Any, Any, Any, bool]:
        """What a call takes, of a frame as ``predict`` takes it, and whether it had no batch axis."""
        config = self.twin.config
        checked = inputs.one_frame(stimulus, perspective, modulation, config)
        pixels, eye, behaviour = (
            as_given(array, is_tensor(stimulus)) for array in inputs.forward_arrays(checked, config)
        )
        return pixels, eye, behaviour, not checked.is_batch

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Go on with these weights, by the released keys: the way to change some.

        Raises:
            CheckpointError: keys are missing, extra or misshapen, or values are not finite float32.
            NoEqualError: ``strict`` is false.
        """
        from fnn_jax.convert.conversion import from_state_dict

        if not strict:
            raise no_equal("load_state_dict(strict=False)", "Give a dictionary with all keys of model.state_dict().")
        twin = self.twin
        arrays = {key: np.asarray(to_numpy(key, value)) for key, value in state.items()}
        network = network_from_parameters(twin.config, from_state_dict(arrays, twin.config, "state"))
        record = {name: value for name, value in twin.record().items() if name != "weights"} | {"changed": True}
        changed = Twin(network, twin.units, name=twin.name, label=twin.label, provenance=record)
        self._running, self._values = Running(changed), None

    def train_context(self, mode: bool = True) -> contextlib.AbstractContextManager:
        """Nothing for False; see ``train``."""
        return contextlib.nullcontext(self.train(mode))

    # What modules ask their network

    def _find(self, path: str) -> Any:
        """The module, value or size at a path; None: there is none."""
        path = paths.ALIASES.get(path, path)
        if path in self._state():
            return self._state()[path]
        if path in self._paths():
            return self._modules[path]
        return paths.sizes(self.twin.config).get(path)

    def _state(self) -> dict[str, Values]:
        """The state dict, made once for these weights."""
        if self._values is None:
            from fnn_jax.convert import to_state_dict

            state = to_state_dict(self.twin.config, parameter_arrays(self.twin.network))
            self._values = {key: read_only(value) for key, value in state.items()}
        return self._values

    def _paths(self) -> dict[str, Module]:
        """Every module by its path, those above before those below."""
        if len(self._modules) == 1:
            for path in (*self._state(), *(f"{path}." for path in paths.modules_without_values(self.twin.config))):
                parts = path.split(".")[:-1]
                for count in range(1, len(parts) + 1):
                    above = ".".join(parts[:count])
                    self._modules.setdefault(above, Module(self, above))
        return self._modules

    def _outputs(self) -> dict[str, str]:
        return paths.outputs(self.twin.config)

    def _add_hook(self, path: str, hook: Callable) -> Handle:
        self._added += 1
        self._hooks[self._added] = (path, hook)
        return Handle(self._hooks, self._added)

    def _move(self, kind: str) -> None:
        """To the first CPU, or to JAX's default device."""
        device = jax.devices("cpu")[0] if kind == "cpu" else next(iter(jnp.zeros(()).devices()))
        if jax.tree.leaves(self.twin.network)[0].devices() != {device}:
            self._running.move(device)

    # One frame

    def _advance(self, checked: CheckedInputs, stream: int | None, periphery: str, tensor: bool) -> Output:
        output = self._running.frame(checked, stream, periphery, self._hooked())
        self._call_hooks(output, 0, stream, tensor)
        return output

    def _loss(self, output: Output, unit: Any, is_batch: bool) -> np.ndarray:
        readout = output.readout[0] if is_batch else output.readout[0, 0]
        target = np.asarray(to_numpy("unit", unit), np.float32)
        if target.shape != readout.shape:
            raise ValueError(
                f"A row of recorded responses has the shape {list(target.shape)}; expected {list(readout.shape)}, as "
                "the frame's responses."
            )
        return np.array(self.twin.network.loss(readout, target))

    def _hooked(self) -> tuple[str, ...]:
        """Features that hooks want to see."""
        hooked = {path for path, _ in self._hooks.values()}
        names = [name for path, name in self._outputs().items() if path in hooked]
        return tuple(dict.fromkeys(name for name in names if name not in (paths.RESPONSES, paths.MEAN_READOUT)))

    def _call_hooks(self, output: Output, frame: int, stream: int | None, tensor: bool) -> None:
        for path, name in self._outputs().items():
            if path == "reduce" and stream is not None:
                continue  # there is nothing to take the mean of
            for hook in [hook for hooked, hook in self._hooks.values() if hooked == path]:
                value = paths.released_layout(name, output, frame, stream is not None)
                shown = as_given(value, tensor) if tensor else read_only(value)
                if hook(self._find(path), (), shown) is not None:
                    raise no_equal(f"A hook on {path or 'the network'} that returns another output", missing.HOOKS)
