"""A twin that remembers: its hidden state moves on from call to call, as that of the released network does."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from fnn_jax.model.network import Inputs, NetworkState, Output
from fnn_jax.twin.inputs import CheckedInputs
from fnn_jax.twin.rollout import Options
from fnn_jax.twin.sizes import chunk_frames
from fnn_jax.twin.twin import Twin


class Running:
    """The state of a twin after the frames that it saw; none before the first."""

    def __init__(self, twin: Twin):
        self.twin = twin
        self.reset()

    def reset(self) -> None:
        """Forget all frames."""
        self._state: NetworkState | None = None
        self._stream: int | None = None
        self._batch = 0
        # Frames of a video that its state has not seen yet: they went through in a chunk that was filled up.
        self._left: tuple[np.ndarray, ...] | None = None

    def move(self, device: jax.Device) -> None:
        self.twin, self._state = jax.device_put((self.twin, self._state), device)

    def video(self, checked: CheckedInputs, features: tuple[str, ...]) -> Iterator[tuple[int, Output]]:
        """A whole video from its beginning, in the chunks of ``Twin.predict``.

        Yields the number of frames, and their output as NumPy arrays ``[frames or more, N, ...]``.
        """
        twin, options = self.twin, Options(features=features)
        self.reset()
        self._batch, state = checked.batch, twin.init_state(checked.batch)
        length = chunk_frames(twin.config, twin._device(), checked.batch)
        for start in range(0, checked.frames, length):
            frames = min(length, checked.frames - start)
            inputs = checked.chunk(start, start + frames, length, twin.config, self.twin._dtype)
            after, output = twin._rollout(state, Inputs(*inputs), options)
            if frames < length:
                self._left = tuple(np.array(array[:frames]) for array in inputs)
            else:
                state = after
            self._state = state
            yield frames, jax.tree.map(np.asarray, output)

    def frame(self, checked: CheckedInputs, stream: int | None, periphery: str, features: tuple[str, ...]) -> Output:
        """One frame after those before. The output has NumPy arrays ``[1, N, ...]``.

        Raises:
            ValueError: the state is that of another batch or stream.
        """
        self.twin.network.check_options(stream, periphery, ())
        if self._state is None:
            self._batch, self._stream = checked.batch, stream
            self._state = self.twin.init_state(checked.batch)
        if (checked.batch, stream) != (self._batch, self._stream):
            raise ValueError(
                f"The frame has a batch of {checked.batch} and stream {stream}; the frames since the last reset had a "
                f"batch of {self._batch} and stream {self._stream}. Call reset() first."
            )
        if self._left is not None:
            for index in range(len(self._left[0])):
                self._advance(tuple(array[index : index + 1] for array in self._left), Options())
            self._left = None
        inputs = checked.chunk(0, 1, 1, self.twin.config, self.twin._dtype)
        return jax.tree.map(np.asarray, self._advance(inputs, Options(periphery, stream, features)))

    def _advance(self, inputs: tuple[Any, ...], options: Options) -> Output:
        assert self._state is not None
        self._state, output = self.twin._rollout(self._state, Inputs(*inputs), options)
        return output
