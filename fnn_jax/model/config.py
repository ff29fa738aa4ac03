"""The architecture as frozen dataclasses, one per stage of the network.

The defaults are the published architecture. Fields made by ``_choice`` select other modules of the released package;
docs/modules.md names them all.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

from fnn_jax.model.requirements import require, require_above_zero, require_dropout, require_one_of, require_positive

NONLINEARITIES = ("gelu", "silu", "elu", "tanh", "identity")
PERSPECTIVES = ("mlp_monitor_retina", "monitor_retina")
PIXELS = ("raw", "static_power", "sigmoid_power")
MODULATIONS = ("mlp_lstm", "flat_lstm", "sigmoid_lstm")
RECURRENTS = ("cvt_lstm", "conv_lstm", "rvt")
BOUNDS = ("tanh", "sigmoid")
FEATURES = ("vanilla", "norm")
UNITS = ("poisson", "elu_mse")


# Of fields beside the published architecture: dictionaries that leave them out mean the default.
_CHOICE = {"choice": True}


def _choice(default: Any) -> Any:
    return dataclasses.field(default=default, metadata=_CHOICE)


@dataclass(frozen=True)
class PerspectiveConfig:
    """Stage 1: eye position turns the monitor image into a retinal image.

    Attributes:
        eye_features: numbers of the eye trace: the position of the pupil, x and y.
        mlp_features, mlp_layers: size and number of the hidden layers between the trace and the angles of the eye.
        height, width: pixels of the retina.
        max_angle_deg: eccentricity of the left and right edge of the retina, degrees.
        kind: ``mlp_monitor_retina`` or ``monitor_retina``, whose layers of the eye are all weight-normalised.
        hidden_features: of ``monitor_retina``: the size of each hidden layer, instead of ``mlp_features, mlp_layers``.
        nonlinearity: behind the hidden layers: ``gelu``, ``silu``, ``elu``, ``tanh`` or ``identity``.
        dropout: of ``monitor_retina``: of its last hidden layer.
        monitor_pixels: from pixel value to luminance: ``static_power``, ``sigmoid_power`` (a learned one) or ``raw``.
        monitor_power: of ``static_power`` at the start; of ``sigmoid_power`` the largest.
        retina_pixels, retina_power: the same from luminance to the retina's response.
    """

    eye_features: int = 2
    mlp_features: int = 16
    mlp_layers: int = 3
    height: int = 128
    width: int = 192
    max_angle_deg: float = 75.0
    kind: str = _choice("mlp_monitor_retina")
    hidden_features: tuple[int, ...] = _choice(())
    nonlinearity: str = _choice("gelu")
    dropout: float = _choice(0.0)
    monitor_pixels: str = _choice("static_power")
    monitor_power: float = _choice(1.7)
    retina_pixels: str = _choice("sigmoid_power")
    retina_power: float = _choice(1.0)

    def __post_init__(self):
        require_positive(self, "eye_features", "mlp_features", "mlp_layers", "height", "width")
        require(self.max_angle_deg > 0, "PerspectiveConfig.max_angle_deg", self.max_angle_deg, "a positive angle")
        require_one_of(self, "kind", PERSPECTIVES)
        require_one_of(self, "nonlinearity", NONLINEARITIES)
        for pixels, power in (("monitor_pixels", "monitor_power"), ("retina_pixels", "retina_power")):
            require_one_of(self, pixels, PIXELS)
            require_above_zero(self, power)
        require_dropout(self)
        hidden = self.hidden_features
        if self.kind == "monitor_retina":
            fits = len(hidden) > 0 and all(isinstance(size, int) and size > 0 for size in hidden)
            require(
                fits, "PerspectiveConfig.hidden_features", hidden, "the size of each hidden layer, such as (16, 16)"
            )
        else:
            for name, unset in (("hidden_features", ()), ("dropout", 0)):
                value = getattr(self, name)
                require(
                    value == unset, f"PerspectiveConfig.{name}", value, f"{unset!r}: it is of kind 'monitor_retina'"
                )


@dataclass(frozen=True)
class ModulationConfig:
    """Stage 2: behaviour turns into a modulation vector, by a linear layer and an LSTM.

    Attributes:
        behaviour_features: numbers of the behaviour: pupil radius and treadmill velocity.
        mlp_features: size of the layers before the LSTM.
        lstm_features: size of the LSTM.
        dropout: of the LSTM: one mask for each video.
        kind: ``mlp_lstm``, ``flat_lstm`` or ``sigmoid_lstm``.
        mlp_layers: of ``mlp_lstm``: layers before the LSTM; all but the first are weight-normalised.
        nonlinearity: of ``mlp_lstm``: behind these layers, as of the perspective.
        out_features: of ``flat_lstm`` and ``sigmoid_lstm``: size of the vector; of ``mlp_lstm`` it is the LSTM's.
    """

    behaviour_features: int = 2
    mlp_features: int = 16
    lstm_features: int = 16
    dropout: float = 0.0
    kind: str = _choice("mlp_lstm")
    mlp_layers: int = _choice(1)
    nonlinearity: str = _choice("gelu")
    out_features: int | None = _choice(None)

    def __post_init__(self):
        require_positive(self, "behaviour_features", "mlp_features", "lstm_features", "mlp_layers")
        require_dropout(self)
        require_one_of(self, "kind", MODULATIONS)
        require_one_of(self, "nonlinearity", NONLINEARITIES)
        if self.kind == "mlp_lstm":
            expected = "None: the vector of kind 'mlp_lstm' is the hidden state, lstm_features long"
            require(self.out_features is None, "ModulationConfig.out_features", self.out_features, expected)
        else:
            require_positive(self, "out_features")

    @property
    def features(self) -> int:
        """Size of the modulation vector."""
        return self.lstm_features if self.out_features is None else self.out_features


@dataclass(frozen=True)
class FeedforwardConfig:
    """Stage 3a: densely connected blocks of space-time convolutions; tuples hold one entry per block.

    Attributes:
        input_kernel, input_stride: of the first convolution, in pixels of the retina.
        channels: of the layers of a block.
        groups: into which these channels are split; a layer does not mix them.
        layers: of a block.
        temporal_kernels: frames that a layer sees: this one, and those before it.
        spatial_kernels: pixels that a layer sees, in height and in width; odd.
        pools: pixels, in height and in width, that are averaged at the end of a block.
        out_channels: of the maps that go into the recurrent part.
        nonlinearity: before each convolution, as of the perspective.
        dropout: of the layers: one mask of channels for each video.
        input_weight_norm: whether the first convolution is weight-normalised like the others.
    """

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
    input_weight_norm: bool = _choice(False)

    def __post_init__(self):
        require_positive(self, "input_kernel", "input_stride", "out_channels")
        require_dropout(self)
        per_block = ("channels", "groups", "layers", "temporal_kernels", "spatial_kernels", "pools")
        lengths = {name: len(getattr(self, name)) for name in per_block}
        require(
            len(set(lengths.values())) == 1, "FeedforwardConfig", lengths, "tuples of equal length, one entry per block"
        )
        for name in per_block:
            values = getattr(self, name)
            require(all(v > 0 for v in values), f"FeedforwardConfig.{name}", values, "positive integers")
        for channels, groups in zip(self.channels, self.groups, strict=True):
            require(
                channels % groups == 0, "FeedforwardConfig.channels", channels, f"a multiple of its {groups} groups"
            )
        require(
            (self.input_kernel - self.input_stride) % 2 == 0,
            "FeedforwardConfig.input_kernel",
            self.input_kernel,
            "kernel minus stride to be even, so that padding is symmetric",
        )
        odd = all(kernel % 2 for kernel in self.spatial_kernels)
        require(odd, "FeedforwardConfig.spatial_kernels", self.spatial_kernels, "odd sizes")
        require_one_of(self, "nonlinearity", NONLINEARITIES)
        is_bool = isinstance(self.input_weight_norm, bool)
        require(is_bool, "FeedforwardConfig.input_weight_norm", self.input_weight_norm, "True or False")


@dataclass(frozen=True)
class RecurrentConfig:
    """Stage 3b: the CvT-LSTM, a convolutional LSTM whose gates also read self-attention over positions.

    With one group there is no map between groups, and the hidden state does not enter the recurrent input.

    Attributes:
        in_channels: of the sum of the maps of feedforward part, modulation and other groups.
        hidden_channels: of hidden state and cells.
        common_channels: of the convolution, and of queries, keys and values.
        out_channels: of the maps that the units read.
        groups: into which all but the last are split; they meet in the map between groups.
        kernel: of the convolution of input and hidden state, in pixels of the map; odd.
        dropout: of input and hidden state: one mask of channels for each video.
        kind: ``cvt_lstm``, ``conv_lstm`` (no attention, and no use for ``common_channels``) or ``rvt``.
    """

    in_channels: int = 256
    hidden_channels: int = 256
    common_channels: int = 512
    out_channels: int = 128
    groups: int = 8
    kernel: int = 3
    dropout: float = 0.0
    kind: str = _choice("cvt_lstm")

    def __post_init__(self):
        require_positive(self, "in_channels", "hidden_channels", "common_channels", "out_channels", "groups", "kernel")
        require_dropout(self)
        require_one_of(self, "kind", RECURRENTS)
        require(self.kernel % 2 == 1, "RecurrentConfig.kernel", self.kernel, "an odd size")
        grouped = ("in_channels", "hidden_channels", "common_channels")
        for name in grouped[:2] if self.kind == "conv_lstm" else grouped:
            value = getattr(self, name)
            require(
                value % self.groups == 0, f"RecurrentConfig.{name}", value, f"a multiple of its {self.groups} groups"
            )


@dataclass(frozen=True)
class ReadoutConfig:
    """Stage 4: where units read the core, and their feature weights.

    Attributes:
        bound: of positions: ``tanh``, or ``sigmoid``, which reaches the lower right quarter of the map alone.
        features: feature weights as they are, ``vanilla``, or normalised, ``norm``.
        groups: of ``norm``: groups of channels, each normalised by itself.
    """

    bound: str = _choice("tanh")
    features: str = _choice("vanilla")
    groups: int = _choice(1)

    def __post_init__(self):
        require_one_of(self, "bound", BOUNDS)
        require_one_of(self, "features", FEATURES)
        require_positive(self, "groups")
        expected = "1: groups of channels are of features 'norm'"
        require(self.features == "norm" or self.groups == 1, "ReadoutConfig.groups", self.groups, expected)


@dataclass(frozen=True)
class UnitConfig:
    """What makes a response out of a readout, and the loss that goes with it.

    Attributes:
        kind: ``poisson``: an exponential and the Poisson loss; ``elu_mse``: ``elu(r) + alpha`` and the squared error.
        alpha: of ``elu_mse``.
    """

    kind: str = _choice("poisson")
    alpha: float = _choice(1.0)

    def __post_init__(self):
        require_one_of(self, "kind", UNITS)
        require_above_zero(self, "alpha")


@dataclass(frozen=True)
class NetworkConfig:
    """The whole network. ``NetworkConfig.microns(num_units)`` is the published architecture.

    Attributes:
        num_units: of the readout.
        num_streams: copies of modulation, core and readout with weights of their own, whose readouts are averaged.
        stimulus_height, stimulus_width, stimulus_channels: of a frame on the monitor; frames are gray.
        perspective, modulation, feedforward, recurrent, readout, unit: the stages, see below.
    """

    num_units: int
    num_streams: int = 4
    stimulus_height: int = 144
    stimulus_width: int = 256
    stimulus_channels: int = 1
    perspective: PerspectiveConfig = PerspectiveConfig()
    modulation: ModulationConfig = ModulationConfig()
    feedforward: FeedforwardConfig = FeedforwardConfig()
    recurrent: RecurrentConfig = RecurrentConfig()
    readout: ReadoutConfig = dataclasses.field(default=ReadoutConfig(), metadata=_CHOICE)
    unit: UnitConfig = dataclasses.field(default=UnitConfig(), metadata=_CHOICE)

    def __post_init__(self):
        require_positive(self, "num_units", "num_streams", "stimulus_height", "stimulus_width", "stimulus_channels")
        scale = self.feedforward.input_stride
        for pool in self.feedforward.pools:
            scale *= pool
        size = (self.perspective.height, self.perspective.width)
        fits = size[0] % scale == 0 and size[1] % scale == 0
        require(fits, "PerspectiveConfig (height, width)", size, f"multiples of {scale}, the downscaling of the core")
        groups, channels = self.readout.groups, self.recurrent.out_channels
        expected = f"a divisor of the core's {channels} channels"
        require(channels % groups == 0, "ReadoutConfig.groups", groups, expected)

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
        """A JSON-serialisable dictionary; ``from_dict`` is its inverse.

        Of the choices beside the published architecture it holds those that were made.
        """
        return _to_dict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "NetworkConfig":
        """Rebuild a configuration; raises ``ValueError`` on names that are missing or not known."""
        return _from_dict(cls, values)


_STAGES = {
    "perspective": PerspectiveConfig,
    "modulation": ModulationConfig,
    "feedforward": FeedforwardConfig,
    "recurrent": RecurrentConfig,
    "readout": ReadoutConfig,
    "unit": UnitConfig,
}


def _to_dict(config: Any) -> dict[str, Any]:
    values = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        # Without them the dictionary of a published twin, and with it its fingerprint, is what it always was.
        if not (field.metadata.get("choice") and value == field.default):
            values[field.name] = _to_dict(value) if dataclasses.is_dataclass(value) else value
    return values


def _from_dict(kind: type, values: dict[str, Any]) -> Any:
    choices = {field.name: bool(field.metadata.get("choice")) for field in dataclasses.fields(kind)}
    required = {name for name, is_choice in choices.items() if not is_choice}
    if not required <= set(values) <= set(choices):
        missing, unknown = sorted(required - set(values)), sorted(set(values) - set(choices))
        raise ValueError(
            f"{kind.__name__} holds the entries {sorted(values)}; expected exactly {sorted(required)} and, if not the "
            f"published ones, {sorted(set(choices) - required)}: missing are {missing}, not known are {unknown}. "
            "The file was written by another version of fnn_jax."
        )

    def build(name, value):
        if name in _STAGES and isinstance(value, dict):
            return _from_dict(_STAGES[name], value)
        return tuple(value) if isinstance(value, list) else value

    return kind(**{name: build(name, value) for name, value in values.items()})
