"""A digital twin: a network with its parameters and the table of its units, and what one does with it."""

import copy
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from fnn_jax.common.checks import integer
from fnn_jax.common.checks import seed as checked_seed
from fnn_jax.model.config import NetworkConfig
from fnn_jax.model.extent import checked_extent, last_border
from fnn_jax.model.network import Inputs, Network, NetworkState, Output, check_key
from fnn_jax.model.parameters import select_units
from fnn_jax.twin import gradients, threads
from fnn_jax.twin.finite import warn_of_responses
from fnn_jax.twin.heads import RANDOM, random_config, random_network, with_readout
from fnn_jax.twin.inputs import CheckedInputs, check_frame, check_inputs
from fnn_jax.twin.locations import readout_locations
from fnn_jax.twin.outputs import are_finite, check_output, gather, without_axes
from fnn_jax.twin.prediction import batch_of, chunks, feature_names, feature_table, first_not_finite
from fnn_jax.twin.provenance import Given, parameters_digest
from fnn_jax.twin.rollout import Options, compiled_rollout, fold, initial_state, outside_traces
from fnn_jax.weights.store import Store, check_table, choose_scan, default_units, save_network
from fnn_jax.weights.units import choose_units

PROVENANCE = ("source", "core_source", "archive", "converter", "weights", "animal_id", "changed")


class Twin:
    """A network together with the units that it predicts.

    A twin is a pytree whose leaves are the parameters: give it to ``jax.jit``, ``jax.device_put`` or ``jax.tree.map``.
    It can be copied and pickled, for ``multiprocessing``, ``joblib`` and the like.

    A new ``Network(config, rngs=...)`` has the initial weights of the released package, whose readout is zero: until it
    is trained, every unit responds 1 to everything. ``Twin.random`` has random units that differ.

    Attributes:
        network: the parameters, and the functions of them; see ``fnn_jax.Network``.
        units: pandas table of the units, indexed by ``readout_id``, the row of the readout.
        name: the scan, such as ``8-5``.
        label: what must be known of the weights, such as ``"random weights"``; empty for published ones.
        provenance: where the weights come from: source files with their SHA-256, the converter, and, for published
            ones, ``weights`` (``"default"`` or ``"ori-trained"``) and ``animal_id``.
    """

    def __init__(
        self,
        network: Network,
        units: pd.DataFrame | None = None,
        *,
        name: str = "twin",
        label: str = "",
        provenance: dict[str, Any] | None = None,
    ):
        self.network = network
        units = default_units(network.config.num_units) if units is None else units.copy()
        check_table(units, network.config.num_units, "units")
        self.units = units
        self.name = name
        self.label = label
        self.provenance = copy.deepcopy(provenance or {})
        self._given = Given(network)
        self._folded: tuple[list[jax.Array], list[jax.Array], Any, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """What a copy or a pickle keeps: nothing compiled, and a provenance that says what was changed since."""
        kept = {name: getattr(self, name) for name in ("network", "units", "name", "label")}
        return kept | {"provenance": self.record()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state.pop("network"), state.pop("units"), **state)

    def __repr__(self) -> str:
        published = "animal_id" in self.provenance
        remarks = [f"{self.weights or 'changed or unnamed'} weights"] if published else []
        remarks += [self.label] if self.label else []
        remarks = [f"{self.num_units} units", f"{self.config.num_streams} streams", *remarks]
        return f"Twin({self.name}: {', '.join(remarks)})"

    @property
    def weights(self) -> str | None:
        """Which of the published weights these are: ``"default"``, ``"ori-trained"``, or ``None``, if they are none of
        them, were changed since, or come from a folder that does not say."""
        return self.provenance.get("weights") if self._is_as_given() else None

    def _is_as_given(self) -> bool:
        """Whether the network still has the arrays that the twin was made with."""
        return self._given.are(self.network)

    def record(self) -> dict[str, Any]:
        """The provenance, which says so where the network was changed since."""
        record = copy.deepcopy(self.provenance)
        if not self._is_as_given():
            record.pop("weights", None)
            record["changed"] = True
        return record

    def fingerprint(self) -> str:
        """A hash of all parameters and of the units' numbers: equal for twins that predict the same."""
        digest = hashlib.sha256(json.dumps(self.config.to_dict(), sort_keys=True).encode())
        digest.update(parameters_digest(self.network).encode())
        ids = self.units.index.to_numpy()
        # Of text, NumPy holds addresses, which are others in every process.
        digest.update(ids.tobytes() if np.issubdtype(ids.dtype, np.integer) else repr(ids.tolist()).encode())
        return digest.hexdigest()

    @property
    def config(self) -> NetworkConfig:
        return self.network.config

    @property
    def num_units(self) -> int:
        return self.config.num_units

    @classmethod
    def load(cls, directory: str | os.PathLike, scan: str | None = None) -> "Twin":
        """A twin from a folder written by ``fnn-jax convert`` or ``save``.

        ``scan``, such as ``"8-5"``, may be left out where the folder holds one scan only. Everything is verified.

        Raises:
            CheckpointError: no weights there, or they are damaged or do not belong together.
            ValueError: the folder does not hold this scan.
        """
        store = Store(directory)
        scan = choose_scan(scan, store.scans(), store.directory)
        network, units, metadata = store.load(scan)
        provenance = {key: metadata[key] for key in PROVENANCE if key in metadata}
        return cls(network, units, name=scan, label=metadata.get("label", ""), provenance=provenance)

    @classmethod
    def random(cls, config: NetworkConfig | None = None, *, units: int | None = None, seed: int = 0) -> "Twin":
        """A twin with random weights whose units differ, to try things without the published ones.

        Args:
            config: the architecture; default: the published one.
            units: how many; default: those of ``config``, or 100.
            seed: the same one draws the same weights.

        It is no model of a mouse, and its label says so.

        Raises:
            TypeError, ValueError: arguments of other kinds.
        """
        network = random_network(random_config(config, units), checked_seed("seed", seed))
        return cls(network, name="random", label=RANDOM)

    def save(self, directory: str | os.PathLike, *, overwrite: bool = False) -> None:
        """Write the twin as a folder that ``load`` reads; an existing one is kept unless ``overwrite`` is set."""
        record = {**self.record(), "label": self.label}
        save_network(directory, self.network, scan=self.name, units=self.units, overwrite=overwrite, **record)

    def select(self, units: Any = None, *, unit_ids: Any = None) -> "Twin":
        """A twin of some of the units, which computes only those; its table keeps their ``readout_id``.

        Args:
            units: ``readout_id`` of each unit, in the order wanted; or a boolean mask, one value per unit; or rows of a
                table of units, such as ``twin.units[...]`` or ``microns.units(...)``, of which those of this scan
                count.
            unit_ids: instead, the ``unit_id`` of each unit.

        Column ``j`` of the responses belongs to row ``j`` of the new twin's ``units``. The core's arrays are shared.

        Raises:
            TypeError, ValueError: units that the twin does not have, named twice or of another animal, or none.
        """
        rows = choose_units(self.units, units, unit_ids)
        network = select_units(self.network, rows)
        return Twin(network, self.units.iloc[rows], name=self.name, label=self.label, provenance=self.record())

    def with_readout(self, weights: Any, positions: Any, biases: Any = None) -> "Twin":
        """A twin with the same core and other units, which read it as they are told.

        Args:
            weights: feature weights on the maps of the core, ``[S, U, C]``, or ``[U, C]`` for all streams alike; NumPy
                or JAX arrays. ``twin.network.readout.feature.weights()`` are those of a twin.
            positions: where each unit reads, ``[U, 2]``: x and y, [-1, 1] from edge to edge of the maps, y = -1 is the
                top; ``core_x, core_y_down`` of ``readout_locations``, ``twin.network.readout.position()``.
            biases: ``[S, U]``, or ``[U]`` for all streams alike; default zeros.

        A unit's readout is its weights times the maps at its position, plus its bias, the mean over streams; published
        units respond with its exponential. Everything before the readout is shared. ``readout_id`` counts from 0; the
        provenance says ``changed``; positions move in training (``key``) as far as those of a new network.

        Raises:
            TypeError, ValueError: what are no finite numbers, or arrays of other shapes.
        """
        network = with_readout(self.network, weights, positions, biases)
        record = self.record() | {"changed": True}
        record.pop("weights", None)  # they were those of other units
        return Twin(network, name=self.name, label=self.label, provenance=record)

    def readout_weights(self) -> np.ndarray:
        """Feature weights of each unit, ``[U, S * C]``: those of stream 0 first, as in the published properties."""
        weight = np.asarray(self.network.readout.feature.weights())
        return np.ascontiguousarray(weight.transpose(1, 0, 2).reshape(self.num_units, -1))

    def readout_locations(self, y: str = "down") -> pd.DataFrame:
        """Where each unit reads, by ``readout_id``: an approximation of the centre of its receptive field.

        Args:
            y: direction of the y axis, part of the column names: ``"down"``, as the model counts (-1 is the top), or
                ``"up"`` (-1 is the bottom).

        Returns:
            ``core_x, core_y_down``: position in the maps of the core, [-1, 1] from edge to edge; ``tanh(mu)`` in
            published twins.
            ``monitor_x, monitor_y_down``: the point of the stimulus that this position of the retina looks at when the
            eye is at its mean; [-1, 1] from edge to edge of the image, and beyond it outside the monitor.
        """
        return readout_locations(self.network, self.units.index, y)

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

    def export_program(self, path: str | os.PathLike, *, periphery: str = "dark", overwrite: bool = False) -> Path:
        """Write the twin as compiled-anywhere programs and weights that need only JAX, for CPU, CUDA and TPU.

        See ``fnn_jax.program.exporting.export_program``, and docs/programs.md for reading it.
        """
        from fnn_jax.program.exporting import export_program

        return export_program(self, path, periphery=periphery, overwrite=overwrite)

    def export_onnx(
        self,
        path: str | os.PathLike,
        *,
        units: Any = None,
        frames: int | None = None,
        periphery: str = "dark",
        stream: int | None = None,
        external_mb: float | None = None,
        overwrite: bool = False,
    ) -> Path:
        """Write the twin as an ONNX model, for onnxruntime on CPUs and in browsers: a step, or a chunk of ``frames``.

        See ``fnn_jax.program.onnx.export_onnx`` for the arguments, and docs/onnx.md for running it.
        """
        from fnn_jax.program.onnx import export_onnx

        return export_onnx(
            self,
            path,
            units=units,
            frames=frames,
            periphery=periphery,
            stream=stream,
            external_mb=external_mb,
            overwrite=overwrite,
        )

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
