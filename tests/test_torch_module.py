"""A twin as a module of PyTorch: the numbers are those of the twin, the gradients those of jax.grad."""

import copy
import pickle
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fnn_jax import Twin
from fnn_jax.convert import torch_module
from fnn_jax.model.parameters import named_parameters

torch = pytest.importorskip("torch", reason="PyTorch is not installed: it is part of the extra 'export'")
bridge = pytest.importorskip("fnn_jax.convert.torch_bridge")

FRAMES, HEIGHT, WIDTH = 3, 18, 32
TOLERANCE = 1e-5  # relative: of each response, and of the largest entry of a gradient


@pytest.fixture(scope="module")
def module(twin):
    return torch_module(twin)


@pytest.fixture(scope="module")
def video():
    return np.random.default_rng(0).uniform(0.1, 0.9, (FRAMES, HEIGHT, WIDTH)).astype(np.float32)


@pytest.fixture(scope="module")
def traces():
    return np.random.default_rng(1).standard_normal((2, FRAMES, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def mixed(video, traces):
    """One video under two traces of the eye and one of behaviour."""
    return video, np.stack([traces[0], -traces[0]], 1), traces[1]


@pytest.fixture
def trained(twin):
    return torch_module(twin, parameters=True)


def tensors(*arrays, grad=False):
    return [torch.tensor(array, requires_grad=grad) for array in arrays]


def assert_close(ours, theirs):
    np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=TOLERANCE)


def assert_gradient(ours, theirs, name=""):
    assert ours.shape == theirs.shape, name
    error = np.abs(ours.numpy() - np.asarray(theirs)).max() / max(np.abs(theirs).max(), 1e-30)
    assert error < TOLERANCE, (name, error)


def loss(responses, sin):
    """Of which every response has another gradient."""
    return sin(3 * responses).sum()


def test_responses_equal_predicts(twin, module, video, traces):
    for stimuli in (video, video[..., None], video[:, None, ..., None], np.uint8(255 * video)):
        responses = module(*tensors(stimuli, *traces))
        assert type(responses) is torch.Tensor and responses.dtype == torch.float32
        expected = twin.predict(stimuli, *traces)
        assert responses.shape == expected.shape and expected.std(0).min() > 1e-4
        assert_close(responses, expected)
    assert_close(module(torch.tensor(video)), twin.predict(video))
    assert_close(module(torch.tensor(video), modulations=torch.tensor(traces[1])), twin.predict(video, None, traces[1]))


def test_options(twin, video):
    options = {"stream": 1, "periphery": "extend"}
    assert_close(torch_module(twin, **options)(torch.tensor(video)), twin.predict(video, **options))


@pytest.mark.slow
def test_gradients_equal_those_of_jax(twin, trained, mixed):
    """Of a video that two traces share, of both traces and of every parameter; responses are those of a batch."""
    inputs = tensors(*mixed, grad=True)
    responses = trained(*inputs)
    loss(responses, torch.sin).backward()

    def of_twin(twin, *arrays):
        responses = twin.rollout(*arrays)
        return loss(responses, jnp.sin), responses

    run = jax.jit(jax.grad(of_twin, argnums=(0, 1, 2, 3), has_aux=True))
    (gradients, *of_inputs), of_rollout = run(twin, *map(jnp.asarray, mixed))
    assert_close(responses, of_rollout)
    assert_close(responses, twin.predict(*mixed))
    for tensor, expected in zip(inputs, of_inputs, strict=True):
        assert np.abs(expected).max() > 1e-3
        assert_gradient(tensor.grad, expected)
    expected = named_parameters(gradients.network)
    found = {name: parameter.grad for name, parameter in trained.named_parameters()}
    assert expected.keys() - found.keys() == {n for n in expected if "luminance" in n or n == "perspective.retina"}
    for name, gradient in found.items():
        assert_gradient(gradient, expected[name], name)
    without = {name for name, gradient in found.items() if not gradient.any()}
    assert without == {"perspective.monitor.center_std", "perspective.monitor.angle_std", "readout.position.spread"}


def test_gradients_against_differences(module, video):
    """Of the pixels that matter most, in float32."""
    stimuli = torch.tensor(video, requires_grad=True)
    weight = torch.linspace(-1, 1, module.twin.num_units)
    (gradient,) = torch.autograd.grad((module(stimuli) * weight).sum(), stimuli)
    for index in gradient.abs().flatten().topk(3).indices:
        change = torch.zeros(gradient.numel()).index_fill(0, index, 0.05).reshape(gradient.shape)
        with torch.no_grad():
            above, below = ((module(stimuli + sign * change) * weight).sum() for sign in (1, -1))
        difference = (above - below) / 0.1
        assert abs(difference - gradient.flatten()[index]) < 0.02 * gradient.abs().max()


@pytest.mark.slow
def test_gradients_against_differences_in_float64(network):
    with jax.enable_x64(True):
        module = torch_module(Twin(jax.tree.map(lambda array: array.astype(np.float64), network)))
        random = np.random.default_rng(2)
        stimuli = random.uniform(0.1, 0.9, (2, HEIGHT, WIDTH))
        inputs = tensors(stimuli, *random.standard_normal((2, 2, 2)), grad=True)
        assert module(*inputs).dtype == torch.float64
        assert torch.autograd.gradcheck(module, inputs, fast_mode=True, nondet_tol=1e-12)


def test_gradients_are_computed_of_what_is_asked_for(trained, mixed, monkeypatch):
    class AskedError(Exception):
        pass

    def ask(wanted, *_, **options):
        raise AskedError(sorted(wanted))

    monkeypatch.setattr(bridge, "_responses_and_pull", ask)
    frozen = copy.deepcopy(trained).requires_grad_(False)
    stimuli, eye, behaviour = tensors(*mixed)
    frozen.readout.feature.bias.requires_grad_()
    with pytest.raises(AskedError, match=r"^\['perspectives', 'readout.feature.bias'\]$"):
        frozen(stimuli, eye.requires_grad_(), behaviour)


def test_without_gradients_nothing_is_kept_for_them(twin, module, video, monkeypatch):
    calls = []
    monkeypatch.setattr(bridge, "_responses_and_pull", lambda *a, **k: calls.append(1) or 1 / 0)
    stimuli = torch.tensor(video, requires_grad=True)
    for quiet in (torch.no_grad(), torch.inference_mode()):
        with quiet:
            responses = module(stimuli)
        assert not responses.requires_grad
        assert_close(responses, twin.predict(video))
    assert not module(stimuli.detach()).requires_grad and not calls
    with pytest.raises(ZeroDivisionError):
        module(stimuli)


def test_autocast_is_of_no_effect(module, video):
    stimuli = torch.tensor(video, requires_grad=True)
    expected = module(stimuli)
    expected.sum().backward()
    gradient, stimuli.grad = stimuli.grad, None
    with torch.autocast("cpu", dtype=torch.bfloat16):
        responses = module(stimuli)
        assert responses.dtype == torch.float32 and torch.equal(responses, expected)
        halves = torch.nn.functional.linear(torch.ones(1), torch.tensor([[0.5]])) * stimuli.bfloat16()
        assert halves.dtype == torch.bfloat16 and module(halves).dtype == torch.float32
    responses.sum().backward()
    torch.testing.assert_close(stimuli.grad, gradient, rtol=0, atol=0)


def test_second_derivatives_are_refused(module, video):
    stimuli = torch.tensor(video, requires_grad=True)
    (plain,) = torch.autograd.grad(module(stimuli).sum(), stimuli)
    (gradient,) = torch.autograd.grad(module(stimuli).sum(), stimuli, create_graph=True)
    assert gradient.requires_grad and torch.equal(plain, gradient)
    with pytest.raises(RuntimeError, match=r"A second derivative of a twin .* derivatives='forward'"):
        gradient.square().sum().backward()


def test_tensors_of_every_kind_and_layout(twin, module, video):
    expected, gradient = None, None
    shifted = torch.zeros(video.size + 1)[1:].copy_(torch.tensor(video).flatten()).reshape(video.shape)
    kinds = {
        "plain": torch.tensor(video),
        "transposed": torch.tensor(video.transpose(0, 2, 1).copy()).transpose(1, 2),
        "every second": torch.tensor(np.repeat(video, 2, axis=2))[..., ::2],
        "not aligned": shifted,
        "float64": torch.tensor(video).double(),
    }
    assert not kinds["transposed"].is_contiguous() and shifted.data_ptr() % 16
    for name, stimuli in kinds.items():
        stimuli.requires_grad_()
        responses = module(stimuli)
        loss(responses, torch.sin).backward()
        assert stimuli.grad.dtype == stimuli.dtype and responses.dtype == torch.float32, name
        if name == "plain":
            expected, gradient = responses.detach(), stimuli.grad
        assert torch.equal(responses, expected), name
        assert torch.equal(stimuli.grad.float(), gradient), name
    still = torch.full((1, 1, 1), 0.5).expand(FRAMES, HEIGHT, WIDTH)
    assert_close(module(still), twin.predict(np.full(video.shape, 0.5)))
    half = torch.tensor(video).bfloat16()
    assert_close(module(half), twin.predict(half.float().numpy()))


def test_what_is_changed_in_place(module, video):
    """Of the inputs, torch refuses the gradient that would be wrong; responses are the caller's."""
    stimuli = torch.tensor(video, requires_grad=True)
    responses = module(stimuli)
    once, twice = (torch.autograd.grad(responses.sum(), stimuli, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(once, twice)
    responses = module(stimuli)
    responses.mul_(2)
    (doubled,) = torch.autograd.grad(responses.sum(), stimuli)
    assert_gradient(doubled, 2 * once.numpy())
    responses = module(stimuli)
    with torch.no_grad():
        stimuli += 0.01
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        responses.sum().backward()


def test_memory_is_shared_on_one_device(module, video):
    tensor = torch.tensor(video)
    array = bridge._to_jax(tensor, module._device)
    assert array.unsafe_buffer_pointer() == tensor.data_ptr()
    array = jnp.arange(8.0)
    assert bridge._to_torch(array, module._device, tensor).data_ptr() == array.unsafe_buffer_pointer()


def test_one_compilation_for_a_shape(module, video):
    def programs():
        return [f._cache_size() for f in (bridge._responses, bridge._responses_and_pull, bridge._gradients)]

    def run(stimuli):
        module(stimuli)
        module(stimuli.requires_grad_()).sum().backward()

    run(torch.tensor(video))
    before = programs()
    run(torch.tensor(video[::-1].copy()))
    assert programs() == before


def test_split_equals_whole(twin, module, video, traces):
    longer = [np.concatenate([array, array[::-1]]) for array in (video, *traces)]
    whole, arguments = twin.predict(*longer), tensors(*longer)
    state, first = module.rollout(module.init_state(), *(tensor[:FRAMES] for tensor in arguments))
    end, second = module.rollout(state, *(tensor[FRAMES:] for tensor in arguments))
    assert_close(torch.cat([first, second]), whole)
    assert np.abs(module(*(tensor[FRAMES:] for tensor in arguments)).numpy() - whole[FRAMES:]).max() > 1e-3
    for index in range(FRAMES, 2 * FRAMES):
        state, responses = module.step(state, *(tensor[index] for tensor in arguments))
        assert responses.shape == (twin.num_units,)
        assert_close(responses, whole[index])
    for ours, theirs in zip(jax.tree.leaves(state), jax.tree.leaves(end), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    _, theirs = twin.step(end, video[0])  # a state is one of the twin's
    assert_close(module.step(end, torch.tensor(video[0]))[1], theirs)


def test_states_of_a_batch(twin, module, video):
    videos = np.stack([video, video[::-1]], 1)[..., None]
    state, responses = module.rollout(module.init_state(2), torch.tensor(videos))
    assert_close(responses, twin.predict(videos))
    assert_close(responses, module(torch.tensor(videos)).numpy())
    _, responses = module.rollout(state, torch.tensor(video))
    assert responses.shape == (FRAMES, 2, twin.num_units)
    assert (responses[:, 0] - responses[:, 1]).abs().max() > 1e-4
    with pytest.raises(ValueError, match=r"a batch of 3, the state one of 2. Make the state with init_state\(3\)"):
        module.step(state, torch.zeros(3, HEIGHT, WIDTH, 1))
    with pytest.raises(TypeError, match="state is int; expected the state of this twin"):
        module.step(1, torch.tensor(video[0]))


def test_gradients_end_at_a_state(module, video):
    first, second = tensors(video, video[::-1].copy(), grad=True)
    state, _ = module.rollout(module.init_state(), first)
    _, responses = module.rollout(state, second)
    responses.sum().backward()
    assert first.grad is None and second.grad.abs().max() > 0


def test_a_generator_learns_what_excites_a_unit(module):
    torch.manual_seed(0)
    generator = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.Tanh(), torch.nn.Linear(16, HEIGHT * WIDTH))
    latents = torch.zeros(FRAMES, 4, requires_grad=True)
    optimizer = torch.optim.Adam([latents], lr=0.5)
    losses = []
    for _ in range(6):
        frames = torch.sigmoid(generator(latents)).reshape(FRAMES, HEIGHT, WIDTH)
        value = -module(frames)[-1, 0]
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0] - 1e-3, losses


def test_parameters_are_trained_and_become_a_twin(twin, trained, video, mixed):
    before, theirs = twin.predict(video), named_parameters(twin.network)
    for name, parameter in trained.named_parameters():
        np.testing.assert_array_equal(parameter.detach().numpy(), theirs[name], err_msg=name)
    trained(*tensors(*mixed, grad=True)).sum().backward()
    torch.optim.SGD(trained.parameters(), lr=1e-3).step()
    with torch.no_grad():
        after = trained(torch.tensor(video))
        assert (after - torch.tensor(before)).abs().max() > 1e-4
        assert_close(after, trained.to_twin().predict(video))
        loaded = torch_module(twin, parameters=True)
        loaded.load_state_dict(trained.state_dict())
        for same in (loaded, copy.deepcopy(trained), pickle.loads(pickle.dumps(trained))):
            assert torch.equal(same(torch.tensor(video)), after)
        bias = {"readout.feature.bias": trained.readout.feature.bias + 1}
        assert_close(torch.func.functional_call(trained, bias, torch.tensor(video)), np.e * after.numpy())
    np.testing.assert_array_equal(twin.predict(video), before)
    assert trained.to_twin().record()["changed"] and "changed" not in twin.record()


def test_a_module_has_no_parameters_unless_asked(module):
    assert not list(module.parameters()) and not module.state_dict()


ZEROS = np.zeros((FRAMES, HEIGHT, WIDTH), np.float32)
NAN = np.full((FRAMES, 2), np.nan, np.float32)


@pytest.mark.parametrize(
    "arguments",
    [
        (ZEROS[0],),
        (ZEROS[..., :-1],),
        (ZEROS[:0],),
        (ZEROS - 1,),
        (ZEROS + np.float32(np.nan),),
        (255 * (ZEROS + 1),),
        (ZEROS.astype(np.int64),),
        (ZEROS.astype(np.int8),),
        (ZEROS > 0,),
        (ZEROS.astype(np.complex64),),
        (ZEROS, NAN),
        (ZEROS, None, NAN),
        (ZEROS, NAN[:2]),
        (ZEROS, NAN[:, :1]),
        (ZEROS, NAN > 0),
        (ZEROS, np.zeros((FRAMES, 2, 2)), np.zeros((FRAMES, 3, 2))),
        (None,),
    ],
)
def test_wrong_inputs_are_refused_as_by_predict(twin, module, arguments):
    with pytest.raises((TypeError, ValueError)) as theirs:
        twin.predict(*arguments)
    given = [None if array is None else torch.tensor(array) for array in arguments]
    with pytest.raises(type(theirs.value), match=f"^{re.escape(str(theirs.value))}$"):
        module(*given)


def test_wrong_tensors(module, video):
    for wrong, name in ((video, "ndarray"), (torch.tensor(video).to_sparse(), "a tensor of torch.sparse_coo")):
        with pytest.raises(TypeError, match=f"stimuli is {name}; expected a dense torch.Tensor. Make one"):
            module(wrong)
    with pytest.raises(TypeError, match="perspective is list; expected a dense"):
        module.step(module.init_state(), torch.tensor(video[0]), [0.0, 0.0])
    with pytest.raises(ValueError, match=r"frame has the shape \[3, 18, 32\]; expected one frame"):
        module.step(module.init_state(), torch.tensor(video))


def test_wrong_options(twin, monkeypatch):
    for options, kind, message in (
        ({"periphery": "drak"}, ValueError, "periphery is 'drak'; expected one of .* Did you mean 'dark'"),
        ({"stream": 2}, ValueError, "stream is 2; expected None or an index from 0 to 1"),
        ({"stream": 0.0}, TypeError, "stream is 0.0"),
        ({"precision": "float16"}, ValueError, "precision is 'float16'"),
        ({"parameters": 1}, TypeError, "parameters is 1; expected True or False"),
    ):
        with pytest.raises(kind, match=message):
            torch_module(twin, **options)
    with pytest.raises(TypeError, match="twin is Network; expected Twin"):
        torch_module(twin.network)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(
        ImportError, match="A module of PyTorch needs the package torch: pip install torch, or the extra 'export'"
    ):
        torch_module(twin)
