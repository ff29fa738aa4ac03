"""What is published of the MICrONS mouse: addresses, names, checksums and numbers of units. The only such table."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fnn_jax.common.files import file_digest
from fnn_jax.model.config import NetworkConfig


@dataclass(frozen=True)
class RemoteFile:
    """A published file: its path below the base address, and its checksum, ``algorithm:digest``, where one is known."""

    path: str
    checksum: str | None = None

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


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
    """

    base_url: str
    animal_id: int
    num_units: Mapping[str, int]
    weights: Mapping[str, RemoteFile]
    properties: Mapping[str, Mapping[str, RemoteFile]]
    property_weights: Mapping[str, str]
    architecture: Callable[[int], NetworkConfig]

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
    animal_id=17797,
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
        ),
        # The readouts were trained further on oriented stimuli. No checksum of this file is published.
        "ori-trained": RemoteFile("foundation_model/foundational_model_weights_and_metadata_v1_with_ori_training.zip"),
    },
    # No checksums of the properties are published either.
    properties={
        "performance": {"units.csv": RemoteFile(f"{_PROPERTIES}/performance/units.csv")},
        "tuning": {"units.csv": RemoteFile(f"{_PROPERTIES}/ori_dir_tuning/units.csv")},
        "anatomy": {"units.csv": RemoteFile(f"{_PROPERTIES}/anatomy/units.csv")},
        "readout": {
            "units.csv": RemoteFile(f"{_PROPERTIES}/readout/units.csv"),
            "readout_locations.npy": RemoteFile(f"{_PROPERTIES}/readout/readout_locations.npy"),
            "readout_weights.npy": RemoteFile(f"{_PROPERTIES}/readout/readout_weights.npy"),
        },
    },
    property_weights={
        "performance": "default",
        "tuning": "ori-trained",
        "readout": "default",
    },
    architecture=NetworkConfig.microns,
)
