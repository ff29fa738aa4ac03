"""Short programs in the styles in which people use the released package, with the import line as an argument.

``microns`` is that module of the released package, or ours; ``directory`` holds the published files of the scan 8-5.
Each returns arrays by name.
"""

import numpy as np
import torch

HEIGHT, WIDTH = 144, 256


def reverse_correlation(microns, directory):
    """Binary noise in large squares, and the mean stimulus before each response."""
    model, ids = microns.scan(session=8, scan_idx=5, cuda=False, directory=directory)
    squares = np.random.default_rng(1).integers(0, 2, (28, 9, 16), dtype=np.uint8)
    video = 255 * squares.repeat(16, axis=1).repeat(16, axis=2)
    responses = model.predict(stimuli=video)
    weights = responses - responses.mean(0)
    lags = [np.einsum("tu,thw->uhw", weights[lag:], squares[: len(squares) - lag] - 0.5) for lag in range(3)]
    return {"responses": responses, "average": np.stack(lags), "unit_ids": ids.loc[[3, 1]].unit_id.to_numpy()}


def moving_bars(microns, directory):
    """A bar in four directions, each a video of its own, and the direction that each unit prefers."""
    model, _ = microns.scan(8, 5, False, directory)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    means = []
    for degrees in (0, 90, 180, 270):
        angle = np.deg2rad(degrees)
        along = (x - WIDTH / 2) * np.cos(angle) + (y - HEIGHT / 2) * np.sin(angle)
        frames = [np.where(abs(along - 20 * (t - 5)) < 12, 255, 40).astype(np.uint8) for t in range(11)]
        means.append(model.predict(frames)[3:].mean(0))
    means = np.array(means)
    return {"means": means, "tuning": means / means.sum(0), "preferred": means.argmax(0)}


def loop_with_reset(microns, directory):
    """Frame by frame with tensors, from the same past twice, and on without a reset; one stream, too."""
    model, _ = microns.scan(session=8, scan_idx=5, cuda=False, directory=directory)
    model.eval()
    noise = np.random.default_rng(2).integers(0, 256, (4, 1, 1, HEIGHT, WIDTH)) / 255
    eye, behaviour = np.random.default_rng(3).standard_normal((2, 4, 1, 2))
    runs = {}
    with torch.no_grad():
        for name, stream in {"first": None, "again": None, "on": None, "stream": 2, "extend": None}.items():
            if name != "on":
                model.reset()
            options = {"periphery": "extend"} if name == "extend" else {}
            found = []
            for frame in zip(noise, eye, behaviour, strict=True):
                tensors = [torch.tensor(array, dtype=torch.float, device=model.device) for array in frame]
                found.append(model(*tensors, stream=stream, **options).squeeze(0).cpu().numpy())
            runs[name] = np.stack(found)
    assert np.array_equal(runs["first"], runs["again"]) and not np.allclose(runs["first"], runs["on"], 1e-4)
    return runs


def loop_with_hooks(microns, directory):
    """What comes out of modules, by forward hooks, in a loop over generate_response and in predict."""
    model, _ = microns.scan(session=8, scan_idx=5, cuda=False, directory=directory)
    seen, order = {}, []

    def hook(name):
        def keep(module, inputs, output):
            order.append(name)
            seen.setdefault(name, []).append(output.detach().cpu().numpy().copy())

        return keep

    names = ["perspective", "modulation", "core.feedforward", "core.recurrent.drop_x", "core.recurrent.drop_h", "core"]
    names += ["readout", "reduce", "unit", *(f"core.feedforward.blocks.{i}" for i in range(3))]
    handles = [model.module(name).register_forward_hook(hook(name)) for name in names]
    handles.append(model.register_forward_hook(hook("network")))
    t, y, x = np.ogrid[:3, :HEIGHT, :WIDTH]
    video = np.uint8(128 + 100 * np.sin(x / 9 + y / 13 - t))[..., None]
    traces = np.random.default_rng(5).standard_normal((2, 3, 2))
    responses = np.array([response for response in model.generate_response(video, *traces)])
    for handle in handles:
        handle.remove()
    longer = np.array([*model.generate_response(video, *traces, reset=False)])
    kept = {name: np.stack(arrays) for name, arrays in seen.items()}
    assert all(len(array) == 3 for array in kept.values())
    positions = np.array([[*dict.fromkeys(order)].index(name) for name in order])
    return {"order": positions, "responses": responses, "longer": longer, **kept}


def receptive_field(microns, directory):
    """White noise under two eye positions at once, around where each unit reads; continued after predict."""
    model, _ = microns.scan(session=8, scan_idx=5, cuda=False, directory=directory)
    random = np.random.default_rng(6)
    video = np.clip(random.normal(128, 60, (13, 1, HEIGHT, WIDTH, 1)), 0, 255).astype(np.uint8)
    eyes = np.tile([[[-0.5, 0.2], [0.5, -0.2]]], (13, 1, 1))
    responses = model.predict(video, perspectives=eyes)
    centered = video[:-2, 0, ::8, ::8, 0] / 255.0 - 0.5
    field = np.einsum("tnu,thw->nuhw", responses[2:] - responses[2:].mean(0), centered)
    after = np.array([*model.generate_response(video[:3], eyes[:3], reset=False)])
    place = model.readout.bound(model.readout.position.mean).detach().cpu().numpy()
    weights = np.concatenate([weight.detach().numpy()[:, 0] for weight in model.readout.feature.weights], axis=1)
    return {"responses": responses, "field": field, "after": after, "place": place, "weights": weights}


def evaluation(microns, directory):
    """Repeats of a clip under recorded behaviour: correlation with responses, and the loss."""
    model, ids = microns.scan(session=8, scan_idx=5, cuda=False, directory=directory)
    random = np.random.default_rng(7)
    clip = random.integers(0, 256, (14, HEIGHT, WIDTH), dtype=np.uint8)
    behaviour = random.standard_normal((3, 2, 14, 2))
    predictions = np.stack([model.predict(clip, eye, body) for eye, body in behaviour])
    recorded = random.poisson(1.0, predictions.shape).astype(float)
    first, second = (array[:, 4:].mean(0) for array in (predictions, recorded))
    cc = [np.corrcoef(first[:, unit], second[:, unit])[0, 1] for unit in range(len(ids))]
    loss = np.array([*model.generate_loss(recorded[0], clip, *behaviour[0])])
    return {"predictions": predictions, "cc": np.array(cc), "loss": loss}


def lesion(microns, directory):
    """Weights that are read, counted, changed and loaded again; modules that are listed."""
    model, _ = microns.scan(session=8, scan_idx=5, cuda=False, directory=directory)
    video = np.full((3, HEIGHT, WIDTH), 90, dtype=np.uint8)
    count = sum(parameter.numel() for parameter in model.parameters())
    buffers = sorted(name for name, _ in model.named_buffers())
    before = model.predict(video)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    state["readout.feature.weights.1"] *= 0
    model.load_state_dict(state)
    values = {f"value {key}": value.numpy() for key, value in model.state_dict().items() if "core" not in key}
    values["block"] = model.core.feedforward.blocks[1].convs[0].weights[2].detach().numpy()
    values["names"] = np.array(sorted(name for name, _ in model.named_parameters()) + buffers)
    values["modules"] = np.array(sorted(name for name, _ in model.named_modules()))
    sizes = [
        model.streams,
        model.units,
        model.core.channels,
        model.modulation.features,
        len(model.core.feedforward.blocks),
    ]
    return {"before": before, "after": model.predict(video), "count": np.array([count, *sizes]), **values}


SCRIPTS = (reverse_correlation, moving_bars, loop_with_reset, loop_with_hooks, receptive_field, evaluation, lesion)
