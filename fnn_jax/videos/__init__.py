"""Videos of any kind, as what the network reads: gray frames of 144 x 256 at 30 Hz.

Frames turn gray by the luma of ITU-R BT.601 and are shown until the next one comes, as when the network's training
videos were made. Packages that read files are imported on first use: ``import fnn_jax`` needs none of them.
"""

from fnn_jax.videos.folders import find_images, find_videos, is_video
from fnn_jax.videos.reading import FITS, check_video, fit_frames, read_video
from fnn_jax.videos.source import Video, VideoError

__all__ = [
    "FITS",
    "Video",
    "VideoError",
    "check_video",
    "find_images",
    "find_videos",
    "fit_frames",
    "is_video",
    "read_video",
]
