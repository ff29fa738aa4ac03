"""A digital twin: a network with its parameters and the table of its units, and what one does with it."""

import copy
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fnn_jax.common.checks import seed as checked_seed
from fnn_jax.model.config import NetworkConfig
from fnn_jax.model.network import Network
from fnn_jax.model.parameters import select_units
from fnn_jax.twin.heads import RANDOM, random_config, random_network, with_readout
from fnn_jax.twin.locations import readout_locations
from fnn_jax.twin.network_calls import NetworkCalls
from fnn_jax.twin.provenance import Given, parameters_digest
from fnn_jax.weights.store import Store, check_table, choose_scan, default_units, save_network
from fnn_jax.weights.units import choose_units

PROVENANCE = ("source", "core_source", "archive", "converter", "weights", "animal_id", "changed")


class Twin(NetworkCalls):
    """A network together with the units that it predicts.

    A twin is a pytree whose leaves are the parameters: give it to ``jax.jit``, ``jax.device_put`` or ``jax.tree.map``.
    It can be copied and pickled, for ``multiprocessing``, ``joblib`` and the like.

    A new ``Network(config, rngs=...)`` has the initial weights of the released package, whose readout is zero: until it
    is trained, every unit responds 1 to everything. ``Twin.random`` has random units that differ.

    Attributes:
        network: the parameters, and the functions of them; see ``fnn_jax.Network``.
        units: pandas table of the units, indexed by ``readout_id``. Row ``j`` of the table is column ``j`` of the
            responses; ``readout_id`` counts the units of the whole scan, of which ``select`` takes some, in any order.
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
        super().__init__(network)
        units = default_units(network.config.num_units) if units is None else units.copy()
        check_table(units, network.config.num_units, "units")
        self.units = units
        self.name = name
        self.label = label
        self.provenance = copy.deepcopy(provenance or {})
        self._given = Given(network)

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
    def random(cls, config: NetworkConfig | None = None, *, num_units: int | None = None, seed: int = 0) -> "Twin":
        """A twin with random weights whose units differ, to try things without the published ones.

        Args:
            config: the architecture; default: the published one.
            num_units: how many; default: those of ``config``, or 100.
            seed: the same one draws the same weights.

        It is no model of a mouse, and its label says so.

        Raises:
            TypeError, ValueError: arguments of other kinds.
        """
        network = random_network(random_config(config, num_units), checked_seed("seed", seed))
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
                count, by session and scan_idx or by the column ``scan``.
            unit_ids: instead, the ``unit_id`` of each unit.

        Column ``j`` of the responses belongs to row ``j`` of the new twin's ``units``. The core's arrays are shared.

        Raises:
            TypeError, ValueError: units that the twin does not have, named twice or of another animal, or none.
        """
        rows = choose_units(self.units, units, unit_ids, self.name)
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
        num_frames: int | None = None,
        periphery: str = "dark",
        stream: int | None = None,
        external_mb: float | None = None,
        overwrite: bool = False,
    ) -> Path:
        """Write the twin as an ONNX model, for onnxruntime on CPUs and in browsers: a step, or ``num_frames`` at once.

        See ``fnn_jax.program.onnx.export_onnx`` for the arguments, and docs/onnx.md for running it.
        """
        from fnn_jax.program.onnx import export_onnx

        return export_onnx(
            self,
            path,
            units=units,
            num_frames=num_frames,
            periphery=periphery,
            stream=stream,
            external_mb=external_mb,
            overwrite=overwrite,
        )
