"""The architecture as frozen dataclasses, one per stage of the network."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

NONLINEARITIES = ("gelu", "silu", "elu", "tanh", "identity")


def _require(condition: bool, argument: str, got: Any, expected: str) -> None:
    if not condition:
        raise ValueError(f"{argument} is {got!r}; expected {expected}.")


def _require_positive(config: Any, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if isinstance(value, np.integer):
            value = int(value)
            object.__setattr__(config, name, value)  # a NumPy integer is no JSON
        label = f"{type(config).__name__}.{name}"
        _require(
            isinstance(value, int) and not isinstance(value, bool) and value > 0, label, value, "a positive integer"
        )


def _require_dropout(config: Any) -> None:
    _require(0 <= config.dropout < 1, f"{type(config).__name__}.dropout", config.dropout, "a probability in [0, 1)")


@dataclass(frozen=True)
class PerspectiveConfig:
    """Stage 1: eye position turns the monitor image into a retinal image of ``height x width``."""

    eye_features: int = 2
    mlp_features: int = 16
    mlp_layers: int = 3  # hidden layers; one more maps onto the three angles of the eye
    height: int = 128
    width: int = 192
    max_angle_deg: float = 75.0  # eccentricity of the left and right edge of the retina

    def __post_init__(self):
        _require_positive(self, "eye_features", "mlp_features", "mlp_layers", "height", "width")
        _require(self.max_angle_deg > 0, "PerspectiveConfig.max_angle_deg", self.max_angle_deg, "a positive angle")


@dataclass(frozen=True)
class ModulationConfig:
    """Stage 2: behaviour turns into a modulation vector, by a linear layer and an LSTM."""

    behaviour_features: int = 2
    mlp_features: int = 16
    lstm_features: int = 16
    dropout: float = 0.0

    def __post_init__(self):
        _require_positive(self, "behaviour_features", "mlp_features", "lstm_features")
        _require_dropout(self)


@dataclass(frozen=True)
class FeedforwardConfig:
    """Stage 3a: densely connected blocks of space-time convolutions; tuples hold one entry per block."""

    input_kernel: int = 6
    input_stride: int = 2
    channels: tuple[int, ...] = (32, 64, 128)
    groups: tuple[int, ...] = (1, 2, 4)
    layers: tuple[int, ...] = (2, 2, 2)
    temporal_kernels: tuple[int, ...] = (3, 3, 3)
    spatial_kernels: tuple[int, ...] = (3, 3, 3)
    pools: tuple[int, ...] = (2, 2, 1)
    out_channels: int = 128
    nonlinearity: str = "gelu"
    dropout: float = 0.0

    def __post_init__(self):
        _require_positive(self, "input_kernel", "input_stride", "out_channels")
        _require_dropout(self)
        per_block = ("channels", "groups", "layers", "temporal_kernels", "spatial_kernels", "pools")
        lengths = {name: len(getattr(self, name)) for name in per_block}
        _require(
            len(set(lengths.values())) == 1, "FeedforwardConfig", lengths, "tuples of equal length, one entry per block"
        )
        for name in per_block:
            values = getattr(self, name)
            _require(all(v > 0 for v in values), f"FeedforwardConfig.{name}", values, "positive integers")
        for channels, groups in zip(self.channels, self.groups, strict=True):
            _require(
                channels % groups == 0, "FeedforwardConfig.channels", channels, f"a multiple of its {groups} groups"
            )
        _require(
            (self.input_kernel - self.input_stride) % 2 == 0,
            "FeedforwardConfig.input_kernel",
            self.input_kernel,
            "kernel minus stride to be even, so that padding is symmetric",
        )
        odd = all(kernel % 2 for kernel in self.spatial_kernels)
        _require(odd, "FeedforwardConfig.spatial_kernels", self.spatial_kernels, "odd sizes")
        known = self.nonlinearity in NONLINEARITIES
        _require(known, "FeedforwardConfig.nonlinearity", self.nonlinearity, f"one of {NONLINEARITIES}")


@dataclass(frozen=True)
class RecurrentConfig:
    """Stage 3b: the CvT-LSTM, a convolutional LSTM whose gates also read self-attention over positions."""

    in_channels: int = 256
    hidden_channels: int = 256
    common_channels: int = 512
    out_channels: int = 128
    groups: int = 8
    kernel: int = 3
    dropout: float = 0.0

    def __post_init__(self):
        _require_positive(self, "in_channels", "hidden_channels", "common_channels", "out_channels", "groups", "kernel")
        _require_dropout(self)
        _require(self.groups > 1, "RecurrentConfig.groups", self.groups, "at least 2")
        _require(self.kernel % 2 == 1, "RecurrentConfig.kernel", self.kernel, "an odd size")
        for name in ("in_channels", "hidden_channels", "common_channels"):
            value = getattr(self, name)
            _require(
                value % self.groups == 0, f"RecurrentConfig.{name}", value, f"a multiple of its {self.groups} groups"
            )


@dataclass(frozen=True)
class NetworkConfig:
    """The whole network. ``NetworkConfig.microns(num_units)`` is the published architecture."""

    num_units: int
    num_streams: int = 4
    stimulus_height: int = 144
    stimulus_width: int = 256
    stimulus_channels: int = 1
    perspective: PerspectiveConfig = PerspectiveConfig()
    modulation: ModulationConfig = ModulationConfig()
    feedforward: FeedforwardConfig = FeedforwardConfig()
    recurrent: RecurrentConfig = RecurrentConfig()

    def __post_init__(self):
        _require_positive(self, "num_units", "num_streams", "stimulus_height", "stimulus_width", "stimulus_channels")
        scale = self.feedforward.input_stride
        for pool in self.feedforward.pools:
            scale *= pool
        size = (self.perspective.height, self.perspective.width)
        fits = size[0] % scale == 0 and size[1] % scale == 0
        _require(fits, "PerspectiveConfig (height, width)", size, f"multiples of {scale}, the downscaling of the core")

    @classmethod
    def microns(cls, num_units: int) -> "NetworkConfig":
        """The published architecture of the MICrONS digital twins, for a scan of ``num_units`` units."""
        return cls(num_units=num_units)

    @classmethod
    def tiny(cls, num_units: int) -> "NetworkConfig":
        """Every part of the published architecture at a size that compiles and runs in moments: for tests."""
        return cls(
            num_units=num_units,
            num_streams=2,
            stimulus_height=18,
            stimulus_width=32,
            perspective=PerspectiveConfig(mlp_features=5, mlp_layers=2, height=16, width=24),
            modulation=ModulationConfig(mlp_features=4, lstm_features=3),
            feedforward=FeedforwardConfig(
                input_kernel=4,
                channels=(4, 6),
                groups=(1, 2),
                layers=(2, 2),
                temporal_kernels=(3, 2),
                spatial_kernels=(3, 3),
                pools=(2, 1),
                out_channels=6,
            ),
            recurrent=RecurrentConfig(in_channels=8, hidden_channels=6, common_channels=12, out_channels=5, groups=2),
        )

    def to_dict(self) -> dict[str, Any]:
        """A JSON-serialisable dictionary; ``from_dict`` is its inverse."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "NetworkConfig":
        """Rebuild a configuration; raises ``ValueError`` on names that are missing or not known."""
        stages = {
            "perspective": PerspectiveConfig,
            "modulation": ModulationConfig,
            "feedforward": FeedforwardConfig,
            "recurrent": RecurrentConfig,
        }

        def build(kind, values):
            names = {field.name for field in dataclasses.fields(kind)}
            if set(values) != names:
                raise ValueError(
                    f"{kind.__name__} holds the entries {sorted(values)}; expected exactly {sorted(names)}. "
                    "The file was written by another version of fnn_jax."
                )
            return kind(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})

        return build(cls, {n: build(stages[n], v) if n in stages else v for n, v in values.items()})
