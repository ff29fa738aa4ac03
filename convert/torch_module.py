"""A twin as a module of PyTorch. Its class needs torch: it lies in ``torch_bridge``, which is imported when a module is
made."""

from typing import TYPE_CHECKING

from fnn_jax.common.checks import boolean
from fnn_jax.convert.published import require_torch
from fnn_jax.model.parameters import named_parameters
from fnn_jax.twin.twin import Twin

if TYPE_CHECKING:
    from fnn_jax.convert.torch_bridge import TorchTwin


def torch_module(
    twin: Twin,
    *,
    periphery: str = "dark",
    stream: int | None = None,
    precision: str = "float32",
    parameters: bool = False,
) -> "TorchTwin":
    """A twin as a ``torch.nn.Module``: tensors in, responses out, and gradients to the tensors.

    Args:
        twin: its arrays are those of now; what is changed in it later is not seen.
        periphery, stream, precision: as for ``Twin.predict``.
        parameters: whether the network's parameters are those of the module, too, named as in fnn_jax, such as
            ``core.recurrent.query.weight``. They begin as copies of the twin's. Buffers stay constants. The spreads
            of random draws, which are not made here, get gradients of zero.

    Returns:
        ``module(stimuli, perspectives=None, modulations=None)`` gives responses; see ``TorchTwin``, which also has
        ``init_state``, ``rollout`` and ``step`` for explicit states.

    Raises:
        ImportError: PyTorch is not installed.
        TypeError, ValueError: ``twin`` is none or lies on several devices, or an option does not exist.
    """
    if not isinstance(twin, Twin):
        raise TypeError(f"twin is {type(twin).__name__}; expected Twin, such as microns.scan(8, 5)[0].")
    twin.network.check_options(stream, periphery, (), precision)
    parameters = boolean("parameters", parameters)
    devices = set().union(*(array.devices() for array in named_parameters(twin.network).values()))
    if len(devices) > 1:
        raise ValueError(
            f"twin lies on {len(devices)} devices; expected one. Put it there: jax.device_put(twin, jax.devices()[0])."
        )
    require_torch("A module of PyTorch")
    from fnn_jax.convert.torch_bridge import TorchTwin

    return TorchTwin(twin, periphery, stream, precision, parameters)
