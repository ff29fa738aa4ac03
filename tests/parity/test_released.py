"""Live comparison with the released PyTorch package, on weights and inputs that are in no file.

Run it where the package is importable: ``PYTHONPATH=path/to/fnn pytest -m released``.
"""

import jax
import numpy as np
import optax
import pytest
import recipe
from tolerances import assert_close

from fnn_jax import NetworkConfig, Twin, cli, synthesis
from fnn_jax.convert import convert, to_state_dict, write_state_dict
from fnn_jax.convert.keys import entries
from fnn_jax.model.inside import WITHOUT_STREAMS
from fnn_jax.model.parameters import network_from_parameters, parameter_arrays
from fnn_jax.synthesis.problem import Problem
from fnn_jax.training.optimizer import released_sgd, rules
from fnn_jax.training.recipe import Recipe
from fnn_jax.training.step import Steps
from fnn_jax.training.windows import Batch

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
build = pytest.importorskip(
    "fnn.microns.build", reason="the released package (github.com/cajal/fnn) is not importable", exc_type=ImportError
)

pytestmark = [pytest.mark.released, pytest.mark.filterwarnings("default")]


def pair(shapes, units, seed, folder):
    """A released model, and our twin converted from its file."""
    scaled = {key: [units, *s[1:]] if key.startswith("readout") else s for key, s in shapes.items()}
    state = recipe.weights(scaled, seed)
    model = build.network(units)
    model.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in state.items()})
    torch.save(model.state_dict(), folder / "model.pt")
    convert(folder / "model.pt", folder / "store")
    return model, Twin.load(folder / "store")


@pytest.mark.parametrize(("units", "seed"), [(5, 1), (133, 2)])
def test_sixty_frames_of_a_batch(shapes, units, seed, tmp_path):
    model, twin = pair(shapes, units, seed, tmp_path)
    stimuli = recipe.video(60, batch=2, seed=seed)
    eye, behaviour = (recipe.behaviour(60, batch=2, seed=100 * seed + i) for i in range(2))
    assert_close("live response", twin.predict(stimuli, eye, behaviour), model.predict(stimuli, eye, behaviour))


def test_input_forms_and_streams(shapes, tmp_path):
    model, twin = pair(shapes, 9, 3, tmp_path)
    stimuli, eye = recipe.video(10, seed=3), recipe.behaviour(10, seed=31)
    for args in [(stimuli,), (stimuli[..., 0],), (stimuli, eye), (stimuli[:, None], None, eye)]:
        assert_close("live response", twin.predict(*args), model.predict(*args))
    units = np.zeros((10, 9))
    theirs = np.stack([*model.generate_loss(units, stimuli, eye, eye, stream=1)])  # with targets 0: the response
    assert_close("live response", twin.predict(stimuli, eye, eye, stream=1), theirs)


def test_every_value_is_what_the_released_module_returns(shapes, tmp_path):
    """Frames are smooth, and dark at the border: steep edges show how differently positions on the monitor round."""
    model, twin = pair(shapes, 11, 6, tmp_path)
    frames, size = 6, np.mgrid[:144, :256]
    phase = size[0] / 31 + size[1] / 23
    window = np.sin(np.pi * (size[0] + 0.5) / 144) * np.sin(np.pi * (size[1] + 0.5) / 256)
    stimuli = np.uint8(window[None] * (127.5 + 120 * np.sin(phase[None] + np.arange(frames)[:, None, None])))
    traces = recipe.behaviour(frames, seed=61), recipe.behaviour(frames, seed=62)
    table = twin.feature_table().released
    table = dict(table[table != ""])
    gates = {"input_gate": "proj_i", "forget_gate": "proj_f", "candidate": "proj_g", "output_gate": "proj_o"}
    table |= {f"recurrent.{gate}": f"core.recurrent.{module}" for gate, module in gates.items()}
    heard = {path: [] for path in table.values()}
    for path, calls in heard.items():
        listen = lambda module, inputs, output, calls=calls: calls.append(output.detach().numpy()[0])  # noqa: E731
        model.get_submodule(path).register_forward_hook(listen)
    model.predict(stimuli, *traces)
    values = twin.features(stimuli, list(table), *traces)
    for name, path in table.items():
        ours = np.moveaxis(values[name], -1, 2) if values[name].ndim == 5 else values[name]
        ours = np.moveaxis(ours, -1, 1) if ours.ndim == 4 and name in WITHOUT_STREAMS else ours
        theirs = np.stack(heard[path][-frames:])
        if name.split(".")[-1] in gates:  # whose modules return them before their nonlinearity
            theirs = np.tanh(theirs) if name.endswith("candidate") else 1 / (1 + np.exp(-theirs))
        assert_close("live value", ours.reshape(theirs.shape), theirs)
    assert len(table) > 35


def test_state_dict_goes_back(shapes, tmp_path):
    """What we write, the released package loads, key for key and bit for bit."""
    model, twin = pair(shapes, 6, 4, tmp_path)
    parameters = parameter_arrays(twin.network)
    write_state_dict(tmp_path / "back.pt", to_state_dict(NetworkConfig.microns(6), parameters))
    back = torch.load(tmp_path / "back.pt", weights_only=True)
    assert set(back) == set(model.state_dict())
    for key, value in model.state_dict().items():
        assert_close("live state dict", np.float64(back[key].numpy()), np.float64(value.numpy()))
    model.load_state_dict(back)


def test_verify_compares_responses(shapes, tmp_path, capsys, monkeypatch):
    pair(shapes, 5, 5, tmp_path)
    assert cli.main(["verify", str(tmp_path / "store")]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].endswith("released code") and 0 <= float(table[2].split()[-1]) < 1e-5
    predict = Twin.predict
    monkeypatch.setattr(Twin, "predict", lambda *args: predict(*args) * 1.0001)
    assert cli.main(["verify", str(tmp_path / "store")]) == 1
    assert "responses differ from those of the released code by 0.0001" in capsys.readouterr().out


def test_ten_steps_of_training(shapes, tmp_path):
    """Objective and optimiser of the released trainer, without random draws.

    Frozen are the core, and eye and monitor, whose gradients on noise video differ by a tenth between any two float32
    computations: with them trained the objectives of ten steps differ by 1e-3.
    """
    from fnn.train.objectives import NetworkLoss
    from fnn.train.optimizers import SgdClip

    model, twin = pair(shapes, 6, 6, tmp_path)
    batch = Batch(
        recipe.video(5, batch=2, seed=7),
        *(recipe.behaviour(5, batch=2, seed=70 + i) for i in range(2)),
        np.abs(recipe.array("live.units", (5, 2, 6))),
    )
    spreads = {
        "perspective.monitor.center_std": "perspective.monitor.center_std",
        "perspective.monitor.angle_std": "perspective.monitor.angle_std",
        "readout.position.spread": "readout.position.sigma",
    }
    arrays = parameter_arrays(twin.network)
    network = network_from_parameters(twin.config, arrays | {name: 0 * arrays[name] for name in spreads})
    with torch.no_grad():
        for key in spreads.values():
            model.get_parameter(key).zero_().requires_grad_(False)
    for name in ("core", "modulation.lstm", "perspective.mlp", "perspective.monitor"):
        model.module(name).freeze(True)
    settings = {"momentum": 0.9, "nesterov": True, "clip": 0.01}
    optimizer = SgdClip(lr=0.1, decay=1e-4, eps=1e-3, **settings)
    objective = NetworkLoss(sample_stream=False, burnin_frames=1)
    objective._init(model)
    theirs = []
    for _ in range(10):
        objective(batch.responses, batch.stimuli, batch.eye, batch.behaviour, training=True)
        theirs.append(objective.step()["training_objective"])
        parameters = {k: p for k, p in model.named_parameters() if p.requires_grad}
        optimizer.step(parameters, **optimizer.hyperparameters)

    chosen = ("perspective.response", "modulation.linear", "readout")
    parts = tuple(name for name in rules(network) if name.startswith(chosen) and name not in spreads)
    ours = Recipe(train=parts, sample_stream=False, burn_in=1, window_frames=5, batch_size=2)
    rule_of = {f"twin/{name}": rule for name, rule in rules(network).items()}
    tx = released_sgd(0.1, rule_of, weight_decay=1e-4, clip_floor=1e-3, **settings)
    steps = Steps({"twin": network}, ours, jax.devices()[:1], tx)
    placed, weights, objectives = steps.put({"twin": batch}), steps.start(), []
    for number in range(10):
        weights, values = steps.update(weights, [placed], number, None)
        objectives += np.asarray(values).tolist()
    assert_close("training objective", objectives, theirs)
    after = model.state_dict()
    for key in (
        "readout.position.mu",
        "readout.biases.1",
        "readout.feature.weights.2",
        "modulation.mlp.linears.0.biases.0",
    ):
        entry = next(entry for entry in entries(twin.config) if key in entry.keys)
        name = entry.path
        change = [entry.write(np.asarray(a))[key] for a in (arrays[name], weights.trained[f"twin/{name}"])]
        assert_close("training", change[1] - change[0], after[key].numpy() - change[0])


def test_excitation(shapes, tmp_path):
    """The released stimulus and objective, with penalty and gradient on the stimulus."""
    from fnn.model.bounds import Sigmoid
    from fnn.model.stimuli import VisualNlm
    from fnn.train.objectives import Excitation

    model, twin = pair(shapes, 6, 8, tmp_path)
    raw = recipe.array("live.raw", (1, 4, 144, 256))
    stimulus = VisualNlm(Sigmoid(), init_gain=0.4)
    stimulus._init(1, 4, 144, 256)
    stimulus.raw.data = torch.from_numpy(raw)
    objective = Excitation(0.5, sample_stream=False, burnin_frames=1, stimulus_penalty=1e-4)
    objective._init(stimulus, model, 2)
    objective(training=True)
    theirs = objective.step()

    problem = Problem(
        twin,
        np.array([[2]]),
        synthesis.excitation(0.5),
        synthesis.nlm(4, 144, 256, gain=0.4),
        penalty=synthesis.weighted([(1e-4, synthesis.roughness())]),
        transforms=(),
        optimizer=optax.sgd(1.0),
        burn_in=1,
        behaviour=(np.zeros((4, 1, 2), np.float32),) * 2,
        learn_behaviour=False,
        sample_stream=False,
        num_stimuli=1,
        diversity=0.0,
        periphery="dark",
        precision="float32",
        remat=None,
        device=jax.devices()[0],
        seed=0,
    )
    target = jax.tree.map(lambda array: array[0], problem.targets(np.arange(1)))
    run = jax.jit(jax.value_and_grad(problem.loss, argnums=1, has_aux=True))
    (total, penalty), gradient = run(problem.leaves, {"stimulus": {"raw": raw}}, target, jax.random.key(0))
    assert_close("synthesis", total - penalty, theirs["training_loss"])
    assert_close("synthesis", penalty / 1e-4, theirs["training_penalty"])
    assert_close("synthesis gradient", gradient["stimulus"]["raw"], stimulus.raw.grad.numpy())
