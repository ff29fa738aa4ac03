"""What the released package has and this one does not, and the way here."""

GRADIENTS = (
    "Gradients are those of JAX: jax.grad of a function of model.twin.rollout(...); or, in PyTorch, the module "
    "fnn_jax.convert.torch_module(model.twin)."
)
TRAINING = f"Training is fnn_jax.training, see docs/training.md. {GRADIENTS}"
CHANGES = "To change weights, change a copy of model.state_dict() and give it to model.load_state_dict(...)."
MODULES = (
    "A module is computed as a part of the network only: model.twin.features(...) has its output, and "
    "register_forward_hook shows it frame by frame."
)
HOOKS = f"Only forward hooks that read an output are called here. {GRADIENTS}"
PRECISION = "The twin computes in float32; model.twin.predict(..., precision=...) has others."

# Attributes of the released network, or of one of its modules, that have no equal.
NO_EQUAL = {
    "backward": GRADIENTS,
    "zero_grad": GRADIENTS,
    "register_forward_pre_hook": HOOKS,
    "register_full_backward_hook": HOOKS,
    "register_full_backward_pre_hook": HOOKS,
    "register_backward_hook": HOOKS,
    "half": PRECISION,
    "double": PRECISION,
    "bfloat16": PRECISION,
    "restart": "A network with new random weights: fnn_jax.Network(config, rngs=flax.nnx.Rngs(seed)).",
    "regularize": TRAINING,
    "dropout": TRAINING,
    "parallel_groups": TRAINING,
    "register_parameter": CHANGES,
    "register_buffer": CHANGES,
    "apply": CHANGES,
}


class NoEqualError(NotImplementedError, AttributeError):
    """Something of the released interface that has no equal here; the message names the way."""


def no_equal(what: str, way: str) -> NoEqualError:
    return NoEqualError(f"{what} has no equal here. {way}")
