"""How many frames and videos go through the network together: chosen from the memory at hand.

On a CPU small chunks are fastest, because they stay in its cache, and videos follow one another. Accelerators take as
many as fit a part of their memory.
"""

import jax

from fnn_jax.common.checks import integer
from fnn_jax.model.chunks import CHUNK_FRAMES, chunk_length
from fnn_jax.model.config import NetworkConfig
from fnn_jax.model.formulation import for_platform

CPU_BATCH = 4
CPU_GRADIENTS = 8  # one after the other, so that their number matters little
# Temporaries of a frame of one video, as a part of all its maps (``frame_bytes``): what the compilers of an H100 and of
# a TPU v5e counted for forward programs (0.21 to 0.24; 0.33, in float32 0.46) and for gradients (1.02, 1.07 in a
# synthesis; 2.7), and a little more; a test holds them to the table.
FORWARD = {"gpu": 0.26, "tpu": 0.5}
GRADIENT = {"gpu": 1.2, "tpu": 3.2}
MOST_FRAMES, MOST_VIDEOS = 32, 64
PART_OF_MEMORY = 0.6  # of what the device may use; the rest is for weights, inputs and results
UNKNOWN_MEMORY = 8 * 2**30  # bytes, for devices that do not say


def chunk_frames(config: NetworkConfig, device: jax.Device, batch: int) -> int:
    """Frames that go through the network together: a multiple of 8."""
    if device.platform == "cpu":
        return CHUNK_FRAMES
    fit = int(_memory(device) // (batch * FORWARD[_kind(device)] * frame_bytes(config)))
    return max(CHUNK_FRAMES, min(MOST_FRAMES, fit - fit % CHUNK_FRAMES))


def checked_chunk_frames(wanted: int | None, config: NetworkConfig, device: jax.Device, batch: int) -> int:
    """What is wanted, or ``chunk_frames``.

    Raises:
        TypeError, ValueError: it is no positive integer.
    """
    if wanted is None:
        return chunk_frames(config, device, batch)
    return integer("chunk_frames", wanted)


def batch_size(config: NetworkConfig, device: jax.Device) -> int:
    """Videos that go through the network together on one device: a power of two."""
    if device.platform == "cpu":
        return CPU_BATCH
    fit = max(1, int(_memory(device) // (CHUNK_FRAMES * FORWARD[_kind(device)] * frame_bytes(config))))
    return min(MOST_VIDEOS, 1 << (fit.bit_length() - 1))


def needs_remat(config: NetworkConfig, device: jax.Device, frames: int, videos: int) -> bool:
    """Whether a gradient should compute chunks again: always on a CPU, else where they take too much memory."""
    if device.platform == "cpu":
        return True
    return GRADIENT[_kind(device)] * frames * videos * frame_bytes(config) > _memory(device)


def gradient_batch(config: NetworkConfig, device: jax.Device, frames: int, remat: bool) -> int:
    """Videos of so many frames whose gradients are computed together on one device: a power of two.

    With ``remat`` a chunk of them is in memory at a time, as long as ``Network.rollout`` makes it by itself.
    """
    if device.platform == "cpu":
        return CPU_GRADIENTS
    kept = GRADIENT[_kind(device)] * (chunk_length(frames) if remat else frames) * frame_bytes(config)
    state = 4 * frames * (config.perspective.height * config.perspective.width * 4)
    fit = max(1, int(_memory(device) // (kept + state)))
    return min(MOST_VIDEOS, 1 << (fit.bit_length() - 1))


def frame_bytes(config: NetworkConfig) -> int:
    """All maps of the feedforward part that belong to a frame of one video, with the windows of its convolutions."""
    feedforward = config.feedforward
    pixels = config.perspective.height * config.perspective.width // feedforward.input_stride**2
    floats = config.perspective.height * config.perspective.width
    for channels, layers, pool in zip(feedforward.channels, feedforward.layers, feedforward.pools, strict=True):
        # Of every layer its output, its activation and a window of three frames; the block's input and output.
        floats += config.num_streams * pixels * channels * (5 * layers + 2)
        pixels //= pool**2
    return 4 * floats


def _kind(device: jax.Device) -> str:
    return for_platform(device.platform)


def _memory(device: jax.Device) -> float:
    statistics = device.memory_stats() or {}
    return PART_OF_MEMORY * statistics.get("bytes_limit", UNKNOWN_MEMORY)
