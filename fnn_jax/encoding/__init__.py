"""What is inside a twin as predictors of other responses, and predictions with the names of their axes.

>>> encoder = Encoder(twin, layer="core").fit(videos, responses)  # responses of other neurons, or of voxels
>>> encoder.score(other_videos, other_responses)
>>> labelled.predict(twin, video).sel(unit=17)                    # an xarray.DataArray, [time, unit]
"""

from typing import TYPE_CHECKING, Any

from fnn_jax.encoding import labelled

if TYPE_CHECKING:
    from fnn_jax.encoding.encoder import Encoder

__all__ = ["Encoder", "labelled"]


def __getattr__(name: str) -> Any:
    """``Encoder`` alone needs scikit-learn, which is asked for where it is used."""
    if name == "Encoder":
        from fnn_jax.encoding.encoder import Encoder

        return Encoder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
