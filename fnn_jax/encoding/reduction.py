"""Values inside the network, chunk by chunk, as few numbers for each frame."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.random_projection import GaussianRandomProjection, SparseRandomProjection

from fnn_jax.common.checks import integer, one_of, sequence, shown
from fnn_jax.model.inside import WITHOUT_STREAMS

PROJECTIONS = {"sparse": SparseRandomProjection, "gaussian": GaussianRandomProjection}
REDUCTIONS = (*PROJECTIONS, "grid", "none")
STREAMS = ("all", "mean")
NO_MAPS = ("recurrent.attention",)  # three axes, of which none are rows and columns
LARGEST_SEED = 2**32 - 1  # of NumPy's RandomState, which scikit-learn draws from


class Reduction:
    """Values of a frame as one row of numbers; the same settings draw the same projection.

    Args:
        shapes: of each value in one frame, ``[stream, ...]``, by name.
        kind: ``"sparse"`` or ``"gaussian"``, a random projection of each name to ``components`` numbers, where it has
            more; ``"grid"``, the mean over blocks of positions; ``"none"``: everything.
        components: numbers that are kept of each name.
        grid: rows and columns of blocks.
        streams: ``"all"``, one after the other, or their ``"mean"``.
        seed: of the projections.

    Raises:
        TypeError, ValueError: settings of other kinds, or a grid that does not fit the maps.
    """

    def __init__(
        self, shapes: Mapping[str, tuple[int, ...]], kind: Any, components: Any, grid: Any, streams: Any, seed: Any
    ):
        self.kind, self.streams = one_of("reduction", kind, REDUCTIONS), one_of("streams", streams, STREAMS)
        components = integer("n_components", components)
        self.grid = _checked_grid(grid)
        random = np.random.RandomState(integer("seed", seed, 0, LARGEST_SEED))
        self._projections: dict[str, Any] = {}
        self.sizes: dict[str, int] = {}
        for name, shape in shapes.items():
            one = np.broadcast_to(np.float32(0), (1, *shape))
            size = self._flat(name, one).shape[1]
            if self.kind in PROJECTIONS and size > components:
                projection = PROJECTIONS[self.kind](n_components=components, random_state=random)
                # Of the data it sees the shape and the precision alone.
                self._projections[name] = projection.fit(np.broadcast_to(np.float32(0), (1, size)))
                size = components
            self.sizes[name] = size

    @property
    def size(self) -> int:
        """Numbers that are kept of a frame."""
        return sum(self.sizes.values())

    def __call__(self, values: Mapping[str, Any]) -> np.ndarray:
        """Values ``[frames, stream, ...]`` by name as ``[frames, size]``, float32."""
        parts = []
        for name in self.sizes:
            flat = self._flat(name, np.asarray(values[name], np.float32))
            projection = self._projections.get(name)
            parts.append(flat if projection is None else projection.transform(flat))
        return np.concatenate(parts, axis=1)

    def _flat(self, name: str, array: np.ndarray) -> np.ndarray:
        has_streams = name not in WITHOUT_STREAMS
        if has_streams and self.streams == "mean":
            array, has_streams = array.mean(axis=1), False
        if self.kind == "grid" and array.ndim - 1 - has_streams == 3:
            array = self._blocks(name, array, first=1 + has_streams)
        return array.reshape(len(array), math.prod(array.shape[1:]))

    def _blocks(self, name: str, array: np.ndarray, first: int) -> np.ndarray:
        """The mean over each block; blocks differ by a row or column where they do not divide the map."""
        sizes = array.shape[first : first + 2]
        if name in NO_MAPS or any(block > size for block, size in zip(self.grid, sizes, strict=True)):
            what = "no map" if name in NO_MAPS else f"a map of {sizes[0]} x {sizes[1]} positions"
            raise ValueError(
                f"grid is {self.grid}, and {name} is {what}; expected at most as many blocks as positions, or another "
                "reduction, such as 'sparse'."
            )
        for axis, (size, blocks) in enumerate(zip(sizes, self.grid, strict=True), first):
            edges = np.arange(blocks + 1) * size // blocks
            counts = np.diff(edges).reshape(-1, *[1] * (array.ndim - axis - 1))
            array = np.add.reduceat(array, edges[:-1], axis=axis) / counts.astype(array.dtype)
        return array


def _checked_grid(grid: Any) -> tuple[int, int]:
    found = sequence("grid", grid, "two integers, rows and columns")
    if len(found) != 2:
        raise ValueError(f"grid is {shown(grid)}; expected two integers, rows and columns.")
    return integer("grid[0]", found[0]), integer("grid[1]", found[1])
