"""The calls of a twin that run its network: responses, inner values, gradients, step by step."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from fnn_jax.common.checks import integer
from fnn_jax.model.config import NetworkConfig
from fnn_jax.model.extent import checked_extent, last_border
from fnn_jax.model.network import Inputs, Network, NetworkState, Output, check_key
from fnn_jax.twin import gradients, threads
from fnn_jax.twin.finite import warn_of_responses
from fnn_jax.twin.inputs import CheckedInputs, check_frame, check_inputs
from fnn_jax.twin.outputs import are_finite, check_output, gather, without_axes
from fnn_jax.twin.prediction import batch_of, chunks, feature_names, feature_table, first_not_finite
from fnn_jax.twin.rollout import Options, compiled_rollout, fold, initial_state, outside_traces


class NetworkCalls:
    """What a ``Twin`` computes, which is one of these with units and a provenance."""

    def __init__(self, network: Network):
        self.network = network
        self._folded: tuple[list[jax.Array], list[jax.Array], Any, Any] | None = None

    @property
    def config(self) -> NetworkConfig:
        return self.network.config

    @property
    def num_units(self) -> int:
        return self.config.num_units

    def predict(
        self,
        stimuli: Any,
        perspectives: Any = None,
        modulations: Any = None,
        *,
        periphery: str = "dark",
        stream: int | None = None,
        precision: str = "float32",
        chunk_frames: int | None = None,
        interventions: Mapping[str, Callable] | None = None,
        start: str = "stimulus",
        output: str = "numpy",
        progress: bool | None = None,
    ) -> Any:
        """Responses of all units to a video, or to a batch of videos.

        Args:
            stimuli: ``[T, H, W]``, ``[T, H, W, C]`` or, for a batch, ``[T, N, H, W, C]``; frames at 30 Hz, uint8 or
                floats in [0, 1].
            perspectives: z-scored pupil position (x, y), ``[T, 2]`` or ``[T, N, 2]``; default zeros.
            modulations: z-scored pupil radius and treadmill velocity, likewise.
            periphery: what lies outside the monitor, ``"dark"`` or ``"extend"`` (its border repeated).
            stream: one of the network's streams alone; default is the mean over their readouts.
            precision: ``"float32"``, or ``"tensorfloat32"`` or ``"bfloat16"``, which are faster on accelerators only;
                their errors stand in docs/speed.md.
            chunk_frames: frames that go through the network together; None: from the memory at hand.
            interventions: functions by name of a value inside the network, which change it: ``f(value, place)``, or
                one of ``fnn_jax.interventions``; see docs/inside.md.
            start: what ``stimuli`` are: the ``"stimulus"``, or values as ``features`` gives them, from which the
                network goes on: ``"retina"``, ``"feedforward"`` or ``"core"``.
            output: ``"numpy"``, or ``"jax"``: a JAX array that stays on the twin's device.
            progress: show a progress bar; None: in terminals and notebooks. Videos below 20 seconds show one
                only where it is True.

        Returns:
            Mean responses per frame, ``[T, U]``, or ``[T, N, U]`` where any input had a batch axis; in the precision of
            the parameters, float32.

        Raises:
            TypeError, ValueError: inputs that do not fit; see ``fnn_jax.twin.inputs``.

        The state starts anew. Memory does not grow with the length of the video, but for inputs and result.
        """
        checked = self._checked(stimuli, perspectives, modulations, start, stream)
        changes = self.network.check_interventions(interventions)
        options = Options(periphery, stream, (), precision, chunk_frames, changes, start)
        (responses,) = gather(self, checked, options, progress, output)
        if not are_finite(responses):
            warn_of_responses("responses", first_not_finite(self, checked, options))
        return responses if checked.is_batch else without_axes(responses, 1)

    def first_not_finite(
        self,
        checked: CheckedInputs,
        periphery: str = "dark",
        stream: int | None = None,
        precision: str = "float32",
        interventions: Mapping[str, Callable] | None = None,
    ) -> str | None:
        """The first stage whose output is NaN or infinite for some frame; None: there is no such stage.

        ``checked`` is what ``fnn_jax.twin.inputs.check_inputs`` makes of a stimulus.
        """
        return first_not_finite(self, checked, Options(periphery, stream, (), precision, None, interventions or {}))

    def features(
        self,
        stimuli: Any,
        names: Sequence[str],
        perspectives: Any = None,
        modulations: Any = None,
        *,
        periphery: str = "dark",
        stream: int | None = None,
        precision: str = "float32",
        chunk_frames: int | None = None,
        interventions: Mapping[str, Callable] | None = None,
        start: str = "stimulus",
        output: str = "numpy",
        progress: bool | None = None,
    ) -> dict[str, Any]:
        """Outputs of inner stages for every frame; inputs as for ``predict``.

        Args:
            names: out of ``twin.feature_table()``, such as ``retina``, ``core`` or ``recurrent.hidden``; or patterns,
                such as ``"feedforward.block1.*"``.
            interventions: as for ``predict``; what is returned is what the network went on with.
            start, output: as for ``predict``.

        Returns:
            Arrays ``[T, stream, ...]``, channels last, or ``[T, N, stream, ...]`` for a batch. ``retina`` and the
            perspective's have no stream axis; with ``stream`` given that axis has length 1.

        The network runs as far as the names ask for it: maps of the feedforward part need no recurrent one.
        """
        names = feature_names(self.network, names)
        checked = self._checked(stimuli, perspectives, modulations, start, stream)
        changes = self.network.check_interventions(interventions)
        checked_extent(start, "responses", names=names)
        end = last_border(start, (*names, *changes))
        options = Options(periphery, stream, names, precision, chunk_frames, changes, start, end)
        found = gather(self, checked, options, progress, output)
        features = found[len(found) - len(names) :]  # behind the responses, where they were computed
        features = features if checked.is_batch else [without_axes(array, 1) for array in features]
        return dict(zip(names, features, strict=True))

    def feature_table(self) -> pd.DataFrame:
        """Every value inside the network that ``features`` reads: its shape in one frame of a video, what it is, and
        the path of the published network's module that returns it, too.

        Indexed by name, in the order of the stages; the axis of streams comes first where there is one.
        """
        return feature_table(self.network)

    def chunks(
        self,
        stimuli: Any,
        names: Sequence[str] = (),
        perspectives: Any = None,
        modulations: Any = None,
        *,
        periphery: str = "dark",
        stream: int | None = None,
        precision: str = "float32",
        chunk_frames: int | None = None,
        interventions: Mapping[str, Callable] | None = None,
        start: str = "stimulus",
    ) -> Iterator[tuple[slice, Output]]:
        """``predict`` and ``features`` of a video, chunk by chunk, for what does not fit into memory.

        Inputs as for ``features``. Yields frames as a slice, and their ``Output`` on the device, ``[frames, N, ...]``;
        that of the last chunk may be longer than the slice, filled up with repeats.
        """
        checked = self._checked(stimuli, perspectives, modulations, start, stream)
        names = feature_names(self.network, names)
        changes = self.network.check_interventions(interventions)
        options = Options(periphery, stream, names, precision, chunk_frames, changes, start)
        return chunks(self, checked, options)

    def rollout(
        self,
        stimuli: Any,
        perspectives: Any = None,
        modulations: Any = None,
        *,
        periphery: str = "dark",
        stream: int | jax.Array | None = None,
        precision: str = "float32",
        key: jax.Array | None = None,
        features: Sequence[str] | None = None,
        interventions: Mapping[str, Callable] | None = None,
        derivatives: str = "reverse",
        start: str = "stimulus",
    ) -> Any:
        """``predict`` on JAX arrays, for ``jax.jit``, ``jax.grad`` and ``jax.vmap``: gradients reach the pixels.

        Inputs and result as for ``predict``; with ``key`` the random draws of training are made, and with ``features``
        the responses come with a dictionary of them, as of ``features``. ``derivatives`` is that of
        ``Network.rollout``: ``"forward"`` for ``jax.jvp`` and ``jax.jacfwd``. All frames go through in one program, so
        a gradient's memory grows with their number.
        """
        checked = self._checked(stimuli, perspectives, modulations, start, stream, traceable=True)
        self.network.check_options(stream, periphery, (), precision)
        if key is not None:
            check_key(key, checked.batch)
        zeros = jnp.zeros((checked.frames, 1, 1))
        eye = zeros if checked.perspectives is None else jnp.asarray(checked.perspectives)
        behaviour = zeros if checked.modulations is None else jnp.asarray(checked.modulations)
        sizes = self.config.perspective.eye_features, self.config.modulation.behaviour_features
        stimulus = jnp.asarray(checked.stimuli)
        inputs = Inputs(
            jnp.broadcast_to(stimulus, (checked.frames, checked.batch, *stimulus.shape[2:])),
            jnp.broadcast_to(eye, (checked.frames, checked.batch, sizes[0])),
            jnp.broadcast_to(behaviour, (checked.frames, checked.batch, sizes[1])),
        )
        changes = self.network.check_interventions(interventions)
        is_plain = features is None and not changes and stream is None and key is None
        if is_plain and derivatives == "reverse" and gradients.runs_in_threads(self.network):
            leaves, structure = self._fold()
            options = {"periphery": periphery, "precision": precision, "start": start}
            responses = self.network.responses(gradients.readout(leaves, inputs, structure=structure, **options))
            return responses if checked.is_batch else responses[:, 0]
        state = self.network.init_state(checked.batch, key)
        names = () if features is None else feature_names(self.network, features)
        asked: dict[str, Any] = {"stream": stream, "periphery": periphery, "precision": precision}
        asked |= {"derivatives": derivatives, "start": start}
        _, output = self.network.rollout(state, inputs, features=names, interventions=interventions, **asked)
        if not checked.is_batch:
            output = jax.tree.map(lambda array: array[:, 0], output)
        return output.responses if features is None else (output.responses, output.features)

    def init_state(self, batch: int = 1) -> NetworkState:
        """State before the first frame, for ``step``. A pytree of arrays: save it, copy it, continue from it."""
        return initial_state(self.network, integer("batch", batch))

    def step(
        self,
        state: NetworkState,
        frame: Any,
        perspective: Any = None,
        modulation: Any = None,
        *,
        periphery: str = "dark",
        stream: int | None = None,
        interventions: Mapping[str, Callable] | None = None,
        frame_index: int = 0,
        start: str = "stimulus",
        output: str = "numpy",
    ) -> tuple[NetworkState, Any]:
        """One frame, for closed loops: the new state and the responses to this frame.

        Args:
            state: from ``init_state(batch)``, or returned by the call before; it is not changed.
            frame: ``[H, W]``, ``[H, W, C]`` or, for a batch, ``[N, H, W, C]``; uint8 or floats in [0, 1].
            perspective, modulation: ``[2]`` or ``[N, 2]``; default zeros.
            interventions: as for ``predict``; ``frame_index`` is what they get for ``place.frame``.
            start: as for ``predict``; then ``frame`` holds the values of one frame.
            output: as for ``predict``; with ``"jax"`` the host does not wait for an accelerator.

        Returns:
            ``state`` after this frame, and responses ``[U]``, or ``[N, U]`` where any input had a batch axis.
        """
        checked_extent(start, "responses")
        check_output(output)
        self.network.check_options(stream, periphery, ())
        checked = check_frame(frame, perspective, modulation, self.config, start, stream)
        batch = batch_of(state, self.network)
        if checked.batch not in (1, batch):
            raise ValueError(
                f"frame, perspective and modulation have a batch of {checked.batch}, the state one of {batch}. "
                f"Make the state with init_state({checked.batch})."
            )
        inputs = Inputs(*checked._replace(batch=batch).chunk(0, 1, 1, self.config, self._dtype))
        changes = self.network.check_interventions(interventions)
        options = Options(periphery, stream, interventions=changes, start=start)
        state, found = self._rollout(state, inputs, options, integer("frame_index", frame_index, least=0))
        responses = found.responses if output == "jax" else np.asarray(found.responses)
        return state, without_axes(responses, *((0,) if checked.is_batch or batch > 1 else (0, 1)))

    def compile(
        self,
        batch: int = 1,
        *,
        stimuli: Any = np.uint8,
        periphery: str = "dark",
        precision: str = "float32",
        chunk_frames: int | None = None,
    ) -> float:
        """Compile ``predict`` now instead of at its first call, by predicting a chunk of black frames.

        Args:
            batch: videos at once; each number is a program of its own. Lengths of videos need none.
            stimuli: dtype of the frames that will come, uint8 or a float.
            periphery, precision, chunk_frames: as they will be given to ``predict``.

        Returns:
            Seconds that it took. With ``fnn_jax.enable_compilation_cache()`` the next process takes a fraction.
        """
        size = self.config.stimulus_height, self.config.stimulus_width, self.config.stimulus_channels
        begin = time.perf_counter()
        black = np.zeros((1, batch, *size), stimuli)
        self.predict(black, periphery=periphery, precision=precision, chunk_frames=chunk_frames, progress=False)
        return time.perf_counter() - begin

    def _checked(self, stimuli, perspectives, modulations, start, stream, traceable=False) -> CheckedInputs:
        checked_extent(start, "responses")
        self.network.check_options(stream, "dark", ())
        traces = perspectives, modulations
        return check_inputs(stimuli, *traces, self.config, traceable=traceable, start=start, stream=stream)

    def _device(self) -> jax.Device:
        return next(iter(jax.tree.leaves(self.network)[0].devices()))

    @property
    def _dtype(self):
        return self.network.perspective.monitor.center.dtype

    def _rollout(
        self, state: NetworkState, inputs: Inputs, options: Options, first_frame: int = 0
    ) -> tuple[NetworkState, Output]:
        """A compiled rollout, with the weights normalised once for as long as the network stays the same."""
        with outside_traces():
            leaves, structure = self._fold()
            names = ("periphery", "features", "precision", "start", "end")
            static = {name: getattr(options, name) for name in names}
            in_threads = options.stream is None and threads.worthwhile(leaves, self.config.num_streams)
            # Interventions are told the stream, of which a program of one stream alone knows nothing.
            if not in_threads or options.interventions:
                changes = dict(options.interventions), np.int32(first_frame)
                return compiled_rollout(leaves, state, inputs, options.stream, *changes, structure=structure, **static)
        return threads.rollout(leaves, state, inputs, structure=structure, **static)

    def _fold(self) -> tuple[list[jax.Array], Any]:
        """The network's parameters with the weights normalised, once for as long as it stays the same."""
        now = jax.tree.leaves(self.network)
        if self._folded is None or list(map(id, now)) != list(map(id, self._folded[0])):
            network, core = fold(self.network)
            self._folded = (now, *jax.tree.flatten(network), core)
        return self._folded[1], self._folded[2]
