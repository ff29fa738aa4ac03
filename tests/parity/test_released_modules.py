"""Live comparison of networks of other modules with the released PyTorch package; see ``test_released``."""

import jax.numpy as jnp
import numpy as np
import pytest
import recipe
from alternatives import ALTERNATIVES
from tolerances import assert_close

from fnn_jax import Twin
from fnn_jax.convert import convert

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip(
    "fnn.microns.build", reason="the released package (github.com/cajal/fnn) is not importable", exc_type=ImportError
)

pytestmark = [pytest.mark.released, pytest.mark.filterwarnings("default")]


def released(config):
    """The released network of an architecture."""
    from fnn.model import (
        bounds,
        cores,
        features,
        feedforwards,
        modulations,
        monitors,
        networks,
        perspectives,
        pixels,
        positions,
        readouts,
        recurrents,
        reductions,
        retinas,
        units,
    )

    def pixel(kind, power):
        if kind == "raw":
            return pixels.Raw()
        return pixels.StaticPower(power=power) if kind == "static_power" else pixels.SigmoidPower(max_power=power)

    p, m, f, r = config.perspective, config.modulation, config.feedforward, config.recurrent
    shared = {
        "monitor": monitors.Plane(),
        "monitor_pixel": pixel(p.monitor_pixels, p.monitor_power),
        "retina": retinas.Angular(degrees=p.max_angle_deg),
        "retina_pixel": pixel(p.retina_pixels, p.retina_power),
        "height": p.height,
        "width": p.width,
    }
    if p.kind == "monitor_retina":
        perspective = perspectives.MonitorRetina(features=p.hidden_features, nonlinear=p.nonlinearity, **shared)
    else:
        perspective = perspectives.MlpMonitorRetina(p.mlp_features, p.mlp_layers, p.nonlinearity, **shared)
    if m.kind == "mlp_lstm":
        modulation = modulations.MlpLstm(m.mlp_features, m.mlp_layers, m.nonlinearity, m.lstm_features)
    else:
        kind = modulations.FlatLstm if m.kind == "flat_lstm" else modulations.SigmoidLstm
        modulation = kind(m.mlp_features, m.out_features, m.lstm_features)
    dense = feedforwards.Dense if f.input_weight_norm else feedforwards.InputDense
    blocks = (f.channels, f.groups, f.layers, f.temporal_kernels, f.spatial_kernels, f.pools)
    feedforward = dense(f.input_kernel, f.input_stride, *blocks, f.out_channels, f.nonlinearity)
    channels = (r.in_channels, r.out_channels, r.hidden_channels)
    if r.kind == "conv_lstm":
        recurrent = recurrents.ConvLstm(*channels, r.groups, r.kernel)
    else:
        kind = recurrents.Rvt if r.kind == "rvt" else recurrents.CvtLstm
        recurrent = kind(*channels, r.common_channels, r.groups, r.kernel)
    read = config.readout
    readout = readouts.PositionFeature(
        position=positions.Gaussian(),
        bound=bounds.Tanh() if read.bound == "tanh" else bounds.Sigmoid(),
        feature=features.Vanilla() if read.features == "vanilla" else features.Norm(groups=read.groups),
    )
    unit = units.Poisson() if config.unit.kind == "poisson" else units.EluMse(alpha=config.unit.alpha)
    core = cores.FeedforwardRecurrent(feedforward=feedforward, recurrent=recurrent)
    network = networks.Visual(core, perspective, modulation, readout, reductions.Mean(), unit)
    network._init(
        stimuli=config.stimulus_channels,
        perspectives=p.eye_features,
        modulations=m.behaviour_features,
        units=config.num_units,
        streams=config.num_streams,
    )
    return network.eval()


@pytest.mark.parametrize("name", ALTERNATIVES)
def test_responses_and_loss(name, tmp_path):
    """On its own random weights, moved off the values that they start with."""
    config = ALTERNATIVES[name]
    torch.manual_seed(0)
    model = released(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    torch.save(model.state_dict(), tmp_path / "model.pt")
    twin = Twin(convert(tmp_path / "model.pt", tmp_path / "store", config=config).load("twin").network)
    stimuli = recipe.video(20, 18, 32)
    traces = [recipe.behaviour(20, seed=seed) for seed in (10, 20)]
    responses = twin.predict(stimuli, *traces)
    assert responses.std(0).min() > 1e-3
    assert_close("live response", responses, model.predict(stimuli, *traces))
    targets = np.abs(recipe.array("units", (20, 5)))
    losses = np.stack([*model.generate_loss(targets, stimuli, *traces)])
    readout = twin.features(stimuli, "readout", *traces)["readout"].mean(1)
    np.testing.assert_allclose(twin.network.loss(jnp.asarray(readout), targets), losses, rtol=1e-4, atol=1e-5)
