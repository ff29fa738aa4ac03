"""Small networks that together have every module beside the published ones."""

import dataclasses

from fnn_jax import NetworkConfig

ONE_BLOCK = {
    "channels": (4,),
    "groups": (2,),
    "layers": (2,),
    "temporal_kernels": (2,),
    "spatial_kernels": (3,),
    "pools": (2,),
}


def tiny(num_units, *, readout=None, unit=None, **stages):
    """``NetworkConfig.tiny`` with one block, which compiles sooner, and other values in some of its stages."""
    values = NetworkConfig.tiny(num_units).to_dict()
    values["feedforward"] |= ONE_BLOCK
    for name, changes in stages.items():
        values[name] |= changes
    values |= {name: changes for name, changes in (("readout", readout), ("unit", unit)) if changes}
    return NetworkConfig.from_dict(values)


def with_dropout(config, dropout):
    """Dropout in every stage that can have it."""
    stages = ["modulation", "feedforward", "recurrent"]
    stages += ["perspective"] if config.perspective.kind == "monitor_retina" else []
    changes = {name: dataclasses.replace(getattr(config, name), dropout=dropout) for name in stages}
    return dataclasses.replace(config, **changes)


ALTERNATIVES = {
    "conv_lstm": tiny(
        5,
        perspective={
            "kind": "monitor_retina",
            "hidden_features": (5, 4),
            "nonlinearity": "tanh",
            "monitor_pixels": "raw",
            "retina_pixels": "static_power",
            "retina_power": 1.7,
        },
        modulation={"kind": "flat_lstm", "out_features": 2},
        feedforward={"input_weight_norm": True},
        recurrent={"kind": "conv_lstm", "out_channels": 6},
        readout={"features": "norm", "groups": 2},
        unit={"kind": "elu_mse", "alpha": 0.7},
    ),
    "rvt": tiny(
        5,
        perspective={"monitor_pixels": "sigmoid_power", "monitor_power": 2, "retina_pixels": "raw"},
        modulation={"kind": "sigmoid_lstm", "out_features": 4},
        recurrent={"kind": "rvt"},
        readout={"bound": "sigmoid"},
    ),
    "one group": tiny(
        5,
        perspective={"nonlinearity": "silu"},
        modulation={"mlp_layers": 2, "nonlinearity": "elu"},
        recurrent={"groups": 1},
    ),
}
