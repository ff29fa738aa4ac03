"""What is published of the MICrONS mouse: addresses, names, checksums and numbers of units. The only such table."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fnn_jax.common.files import file_digest
from fnn_jax.model.config import NetworkConfig
from fnn_jax.weights.units import PUBLISHED_ANIMAL


@dataclass(frozen=True)
class RemoteFile:
    """A published file: its path below the base address, its checksum, ``algorithm:digest``, and its size in megabytes
    (about), where they are known."""

    path: str
    checksum: str | None = None
    megabytes: float | None = None

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class ExampleRecording:
    """The published recording to train on, and what the released demonstration reports of it.

    Attributes:
        training, evaluation: folders below the base address, files as in docs/training.md and docs/evaluation.md.
        animal_id, scan, num_units: another mouse than that of the scans, whose scan has the same number.
        start: the scan whose core, and LSTM of the modulation, are transferred.
        epochs: of the released training. evaluation_frames: of all repeats.
        figures: best objectives over the epochs, and the median of ``cc_norm`` after the last one.
    """

    training: str
    evaluation: str
    animal_id: int
    scan: str
    num_units: int
    start: str
    epochs: int
    evaluation_frames: int
    figures: Mapping[str, float]


@dataclass(frozen=True)
class Release:
    """Published scans of one animal.

    Attributes:
        base_url: where all files lie.
        animal_id: the mouse; scans of other mice have the same numbers.
        num_units: number of units of each scan, by name.
        weights: zips of weights by tag. Their cores are the same, their readouts are not.
        properties: files of each group of properties; ``units.csv`` is the table of units.
        property_weights: tag of the weights that a group of properties was computed with.
        architecture: the network for a number of units.
        predictions: what the released code predicted with the default weights: ``stimulus.npy``, ``[frame, H, W]``
            uint8, one continuous stream, ``responses.npy``, ``[unit, frame]`` float32, and ``units.csv``, what its rows
            are, where there is such a file.
        known_rows: rows of the tables as they are known to be, by group, scan and unit_id.
        example: the recording to train on.
    """

    base_url: str
    animal_id: int
    num_units: Mapping[str, int]
    weights: Mapping[str, RemoteFile]
    properties: Mapping[str, Mapping[str, RemoteFile]]
    property_weights: Mapping[str, str]
    architecture: Callable[[int], NetworkConfig]
    predictions: Mapping[str, RemoteFile] = field(default_factory=dict)
    known_rows: Mapping[str, Mapping[tuple[str, int], Mapping[str, float | str]]] = field(default_factory=dict)
    example: ExampleRecording | None = None

    def animal_of(self, scan: str, num_units: int) -> int | None:
        """The animal, where a scan of this name and size is one of this release; otherwise it may be any animal's."""
        return self.animal_id if self.num_units.get(scan) == num_units else None

    def tag_of(self, path: str | os.PathLike) -> str | None:
        """Tag of a zip of weights: by its checksum where that is published, else by its name; ``None`` if unknown."""
        for tag, file in self.weights.items():
            if file.checksum is not None:
                algorithm, _, digest = file.checksum.partition(":")
                if file_digest(path, algorithm) == digest:
                    return tag
        named = [tag for tag, file in self.weights.items() if file.checksum is None and file.name == Path(path).name]
        return named[0] if named else None

    def check_tag(self, weights: str) -> None:
        """Refuse weights that do not exist."""
        if weights not in self.weights:
            raise ValueError(f"weights is {weights!r}; expected one of {list(self.weights)}.")


_PROPERTIES = "digital_twin_properties/v2"  # v1 came from other code, and its numbers differ

MICRONS = Release(
    base_url="https://bossdb-open-data.s3.amazonaws.com/iarpa_microns/minnie/functional_data/",
    animal_id=PUBLISHED_ANIMAL,
    num_units={
        "4-7": 7493,
        "5-6": 8592,
        "5-7": 8138,
        "6-2": 8158,
        "6-4": 8221,
        "6-6": 7971,
        "6-7": 7887,
        "7-3": 8618,
        "7-5": 8194,
        "8-5": 9941,
        "9-3": 7973,
        "9-4": 7855,
        "9-6": 5130,
    },
    weights={
        "default": RemoteFile(
            "foundation_model/foundational_model_weights_and_metadata_v1.zip",
            "md5:58fcac4b31ad2902c81e339432cec787",
            megabytes=222,
        ),
        # The readouts were trained further on oriented stimuli. No checksum of this file is published.
        "ori-trained": RemoteFile(
            "foundation_model/foundational_model_weights_and_metadata_v1_with_ori_training.zip", megabytes=222
        ),
    },
    # No checksums of the properties are published either.
    properties={
        "performance": {"units.csv": RemoteFile(f"{_PROPERTIES}/performance/units.csv", megabytes=5)},
        "tuning": {"units.csv": RemoteFile(f"{_PROPERTIES}/ori_dir_tuning/units.csv", megabytes=8)},
        "anatomy": {"units.csv": RemoteFile(f"{_PROPERTIES}/anatomy/units.csv", megabytes=6)},
        "readout": {
            "units.csv": RemoteFile(f"{_PROPERTIES}/readout/units.csv", megabytes=2),
            "readout_locations.npy": RemoteFile(f"{_PROPERTIES}/readout/readout_locations.npy", megabytes=0.8),
            "readout_weights.npy": RemoteFile(f"{_PROPERTIES}/readout/readout_weights.npy", megabytes=213),
        },
    },
    property_weights={
        "performance": "default",
        "tuning": "ori-trained",
        "readout": "default",
    },
    architecture=NetworkConfig.microns,
    predictions={
        # 2.8 and 31 GB, of which ``fnn-jax reproduce`` takes what it compares.
        "stimulus.npy": RemoteFile(f"{_PROPERTIES}/responses/stimulus.npy"),
        "responses.npy": RemoteFile(f"{_PROPERTIES}/responses/responses.npy"),
        # Whether it is there is not known. Without it the rows are taken to be in the order of the weights' units.csv.
        "units.csv": RemoteFile(f"{_PROPERTIES}/responses/units.csv", megabytes=2),
    },
    known_rows={
        "performance": {
            ("4-7", 1): {"cc_abs": 0.315713, "cc_max": 0.444026, "cc_norm": 0.711024},
            ("4-7", 3): {"cc_abs": 0.542383, "cc_max": 0.744648, "cc_norm": 0.728375},
        },
        "tuning": {
            ("4-7", 1): {"OSI": 0.310454, "DSI": 0.018912, "gOSI": 0.157952, "gDSI": 0.012620},
            ("4-7", 3): {"OSI": 0.469847, "DSI": 0.036394, "gOSI": 0.246501, "gDSI": 0.014493},
        },
        "anatomy": {
            ("4-7", 1): {"unit_x": 207.46, "unit_y": 53.12, "unit_z": 133.37, "brain_area": "LM", "field": 1},
        },
    },
    # Which files there are, and of what size, the server lists.
    example=ExampleRecording(
        training="foundation_model/train_digital_twin/training_data_27203_4_7",
        evaluation="foundation_model/train_digital_twin/evaluation_data_27203_4_7",
        animal_id=27203,
        scan="4-7",
        num_units=8509,
        start="4-7",
        epochs=100,
        evaluation_frames=18_000,  # 6 videos, 10 repeats, 10 s
        figures={"training_objective": 0.354, "validation_objective": 0.373, "cc_norm": 0.68},
    ),
)
