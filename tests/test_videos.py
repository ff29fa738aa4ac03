"""Videos of all kinds come as gray frames at 30 Hz, at the right times, in the right place, or are refused."""

import io
import math
import re
import struct
import subprocess
import sys
import tracemalloc
import wave
from fractions import Fraction

import numpy as np
import pytest

av = pytest.importorskip("av", reason="PyAV is not installed")
zarr = pytest.importorskip("zarr", reason="zarr is not installed")
from PIL import Image  # noqa: E402

from fnn_jax.videos import VideoError, check_video, find_videos, is_video, read_video  # noqa: E402

SIZE = (48, 64)  # of the videos written here
SMALL = (9, 16)  # what most of them are read as
LIMITED, FULL = 1, 2
BT709, BT601 = 1, 6
LUMA = {BT709: (0.2126, 0.7152, 0.0722), BT601: (0.299, 0.587, 0.114)}


def planes(rgb, size=SIZE, color_range=LIMITED, matrix=BT601):
    """One colour as YUV 4:2:0, by the definition."""
    red, green, blue = np.asarray(rgb) / 255
    k = LUMA[matrix]
    y = k[0] * red + k[1] * green + k[2] * blue
    u, v = (blue - y) / 2 / (1 - k[2]), (red - y) / 2 / (1 - k[0])
    coded = (
        (255 * y, 128 + 255 * u, 128 + 255 * v) if color_range == FULL else (16 + 219 * y, 128 + 224 * u, 128 + 224 * v)
    )
    pixels = size[0] * size[1]
    flat = np.repeat(np.round(coded), [pixels, pixels // 4, pixels // 4])
    return flat.reshape(size[0] * 3 // 2, size[1]).astype(np.uint8)


def write(
    path, frames, rate=30, codec="libx264", pts=None, color_range=LIMITED, matrix=BT601, aspect=None, options=None
):
    """A video of YUV planes [H * 3 / 2, W]; ``pts`` in milliseconds."""
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = frames[0].shape[0] * 2 // 3, frames[0].shape[1]
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 4_000_000
        stream.codec_context.color_range, stream.codec_context.colorspace = color_range, matrix
        if aspect:
            stream.sample_aspect_ratio = aspect
        if pts:
            stream.codec_context.time_base = Fraction(1, 1000)
        for i, array in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(array, format="yuv420p")
            frame.color_range, frame.colorspace = color_range, matrix
            if pts:
                frame.pts, frame.time_base = pts[i], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def pictures(grays):
    """Gray pictures [H, W] as YUV planes."""
    return [
        np.concatenate([np.round(16 + g * (219 / 255)), np.full((len(g) // 2, g.shape[1]), 128)]).astype(np.uint8)
        for g in grays
    ]


def noise(count, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (SIZE[0] * 3 // 2, SIZE[1]), dtype=np.uint8) for _ in range(count)]


def codes(count):
    """Gray pictures [48, 64] that show their number: eight stripes, one for each bit."""
    bits = np.arange(count)[:, None] >> np.arange(8) & 1
    return [np.repeat(np.tile(230 * b + 12, (SIZE[0], 1)), SIZE[1] // 8, axis=1).astype(np.uint8) for b in bits]


def frame_numbers(video):
    """Which input frames these are, by their stripes."""
    stripes = video.frames.reshape(len(video.frames), video.frames.shape[1], 8, -1).astype(float)
    stripes /= 255 if video.frames.dtype == np.uint8 else 1
    assert (np.abs(stripes.mean((1, 3)) - 0.5) > 0.3).all()
    return ((stripes.mean((1, 3)) > 0.5) @ (1 << np.arange(8))).tolist()


def shown(count, rate):
    """Frame that is shown at k / 30 s, for all k before the end, by exact arithmetic."""
    length = math.ceil(Fraction(count) / rate * 30)
    return [int(Fraction(k, 30) * rate) for k in range(length)]


@pytest.mark.parametrize(
    ("name", "rate", "codec"),
    [
        ("a.mp4", 25, "libx264"),
        ("a.mp4", 24, "libx264"),
        ("a.mp4", 30, "libx264"),
        ("a.mp4", 60, "libx264"),
        ("a.mp4", 120, "mpeg4"),
        ("a.mp4", 10, "libx264"),
        ("a.mov", 50, "libx264"),
        ("a.m4v", 15, "libx264"),
        ("a.mkv", 30, "libx264"),  # these two have times in milliseconds
        ("a.mkv", 60, "libx264"),
        ("a.webm", 25, "libvpx"),
        ("a.mpg", 25, "mpeg2video"),
        ("a.avi", 25, "mpeg4"),
        ("a.avi", 30, "libx264"),  # with frames out of order, and no presentation times
        ("a.AVI", 60, "libx264"),
    ],
)
def test_frames_are_those_shown_at_30_hz(tmp_path, name, rate, codec):
    path = write(tmp_path / name, pictures(codes(50)), rate, codec)
    video = read_video(path, size=SMALL)
    assert frame_numbers(video) == shown(50, rate)
    assert video.frames.dtype == np.uint8 and video.frames.shape == (len(shown(50, rate)), *SMALL)
    assert video.how == (
        f"{name}: 50 frames of 48 x 64 at {rate} Hz -> {len(video.frames)} frames of 9 x 16 at 30 Hz, "
        "cropped to the middle 36 x 64, gray (BT.601)"
    )
    check_video(path, SMALL)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_29_97_hz_is_30_hz_frame_by_frame(tmp_path, name):
    frames = pictures(codes(60)) * 20  # 40 s, in which a clock would repeat a frame
    video = read_video(write(tmp_path / name, frames, Fraction(30000, 1001), "mpeg4"), size=SMALL)
    assert frame_numbers(video) == list(range(60)) * 20
    assert "1200 frames of 48 x 64 at 29.97 Hz, taken as 30 Hz -> 1200 frames" in video.how


def test_a_camera_that_says_30_hz_may_jitter(tmp_path):
    jitter = np.random.default_rng(0).integers(-6, 7, 60)
    pts = [max(0, round(i * 1000 / 30) + int(j)) for i, j in enumerate(jitter)]
    pts[0], pts[-1] = 0, 1967
    video = read_video(write(tmp_path / "a.mkv", pictures(codes(60)), 30, pts=pts), size=SMALL)
    assert frame_numbers(video) == list(range(60))


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_variable_rate_honours_presentation_times(tmp_path, name):
    pts = [0, 20, 110, 150, 170, 500, 900]
    video = read_video(write(tmp_path / name, pictures(codes(7)), 10, pts=pts), size=SMALL)
    expected = [max(i for i, t in enumerate(pts) if 3 * t <= 100 * k) for k in range(27)]  # k / 30 s up to 0.9 s
    assert frame_numbers(video)[:27] == expected
    assert set(frame_numbers(video)[27:]) == {6}  # its duration is up to the file
    assert "at varying intervals" in video.how


def test_stated_rate_replaces_that_of_the_file(tmp_path):
    path = write(tmp_path / "a.mp4", pictures(codes(30)), 25)
    assert frame_numbers(read_video(path, size=SMALL, frames_per_second=60)) == shown(30, 60)
    assert frame_numbers(read_video(path, size=SMALL, frames_per_second=30)) == list(range(30))
    assert frame_numbers(read_video(path, size=SMALL, frames_per_second=29.97)) == list(range(30))


def gif(path, pictures, **options):
    images = [Image.fromarray(picture) for picture in pictures]
    images[0].save(path, save_all=True, append_images=images[1:], **options)
    return path


def test_gif_frames_last_as_long_as_they_say(tmp_path):
    durations = [30, 100, 40, 250, 10, 70]
    video = read_video(gif(tmp_path / "a.gif", codes(6), duration=durations), size=SMALL)
    starts = np.cumsum([0, *durations])
    expected = [int(np.flatnonzero(3 * starts <= 100 * k)[-1]) for k in range(15)]  # 500 ms
    assert frame_numbers(video) == expected
    assert "6 frames of 48 x 64 at varying intervals, 12 Hz on average -> 15 frames of 9 x 16 at 30 Hz" in video.how
    assert frame_numbers(read_video(tmp_path / "a.gif", size=SMALL, frames_per_second=30)) == list(range(6))


def test_gif_without_durations(tmp_path):
    video = read_video(gif(tmp_path / "a.gif", codes(3)), size=SMALL)
    assert frame_numbers(video) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert "frames without a duration shown for 0.1 s" in video.how
    assert frame_numbers(read_video(gif(tmp_path / "still.gif", codes(1)), size=SMALL)) == [0]
    long = read_video(gif(tmp_path / "long.gif", codes(1), duration=500), size=SMALL)
    assert frame_numbers(long) == [0] * 15
    assert "1 frame of 48 x 64 shown for 0.5 s -> 15 frames" in long.how


@pytest.mark.parametrize("color_range", [LIMITED, FULL], ids=["limited", "full"])
@pytest.mark.parametrize("codec", ["libx264", "libvpx-vp9"])
def test_gray_levels_of_limited_and_full_range(tmp_path, color_range, codec):
    levels = [0, 16, 50, 128, 200, 235, 255]
    frames = [planes([level] * 3, color_range=color_range) for level in levels]
    path = write(tmp_path / "a.mkv", frames, color_range=color_range, codec=codec)
    frames = read_video(path, size=SMALL).frames.astype(int)
    assert np.abs(frames - np.array(levels)[:, None, None]).max() <= 2


@pytest.mark.parametrize("matrix", [BT601, BT709], ids=["601", "709"])
def test_coloured_videos_turn_gray_by_bt_601(tmp_path, matrix):
    colours = np.array([[200, 100, 50], [20, 220, 40], [60, 60, 230], [230, 40, 60], [128, 128, 128]])
    path = write(tmp_path / "a.mp4", [planes(c, matrix=matrix) for c in colours], matrix=matrix)
    frames = read_video(path, size=SMALL).frames.astype(float)
    assert np.abs(frames - (colours @ LUMA[BT601])[:, None, None]).max() <= 3


def gradient(size):
    """Levels from left to right: 10 + column * 200 / width, at the middle of each pixel."""
    return np.tile(10 + (np.arange(size[1]) + 0.5) * 200 / size[1], (size[0], 1))


@pytest.mark.parametrize("kind", ["mp4", "npy", "floats", "png"])
def test_crop_keeps_the_middle(tmp_path, kind):
    wide = gradient((90, 320))  # the middle half of its width is 16:9
    path = tmp_path / {"floats": "a.npy"}.get(kind, f"a.{kind}")
    if kind == "mp4":
        write(path, pictures([wide]) * 2)
    elif kind == "png":
        Image.fromarray(np.round(wide).astype(np.uint8)).save(path)
    else:
        np.save(path, (np.round(wide).astype(np.uint8) if kind == "npy" else (wide / 255).astype(np.float32))[None])
    video = read_video(path, size=(45, 80))
    frame = video.frames[0] * (255.0 if kind == "floats" else 1.0)
    expected = 10 + (80 + 2 * (np.arange(80) + 0.5)) * 200 / 320
    assert np.abs(frame[:, 2:-2] - expected[2:-2]).max() <= (0.05 if kind == "floats" else 2)
    assert "cropped to the middle 90 x 160" in video.how
    tall = read_video(path, size=(80, 45)).frames[0] * (255.0 if kind == "floats" else 1.0)
    middle = 160 + ((np.arange(45) + 0.5) / 45 - 0.5) * 90 * 45 / 80
    assert np.abs(tall[:, 2:-2] - (10 + middle * 200 / 320)[2:-2]).max() <= 2


def marked(tmp_path, dtype=np.uint8):
    """A video [1, 100, 100], dark, with a bright square of 20 in rows 10 to 30, columns 60 to 80."""
    frame = np.full((1, 100, 100), 20, np.uint8)
    frame[:, 10:30, 60:80] = 220
    path = tmp_path / "marked.npy"
    np.save(path, frame if dtype == np.uint8 else (frame / 255).astype(dtype))
    return path


def test_stretch_scales_each_axis(tmp_path):
    video = read_video(marked(tmp_path), size=(50, 200), fit="stretch")
    bright = video.frames[0] > 120
    assert (np.flatnonzero(bright.any(1))[[0, -1]] == [5, 14]).all()
    assert (np.flatnonzero(bright.any(0))[[0, -1]] == [120, 159]).all()
    assert video.how.endswith("1 frame of 50 x 200 at 30 Hz, stretched")


def test_crop_of_the_height(tmp_path):
    video = read_video(marked(tmp_path), size=(50, 100))  # rows 25 to 75, where 5 rows of the square are left
    bright = video.frames[0] > 120
    assert (np.flatnonzero(bright.any(1))[[0, -1]] == [0, 4]).all()
    assert (np.flatnonzero(bright.any(0))[[0, -1]] == [60, 79]).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_pad_shows_all_between_gray(tmp_path, dtype):
    video = read_video(marked(tmp_path, dtype), size=(50, 100), fit="pad")  # half the size, columns 25 to 75
    scale = 1 if dtype == np.uint8 else 255
    frame = video.frames[0] * float(scale)
    assert video.frames.dtype == dtype
    assert np.allclose(frame[:, :25], 128) and np.allclose(frame[:, 75:], 128)
    assert np.abs(frame[:, 25:52] - 20).max() <= 3 and np.abs(frame[20:, 25:75] - 20).max() <= 3
    assert np.abs(frame[6:14, 56:64] - 220).max() <= 12  # bicubic overshoots at edges
    assert frame.max() <= 255 and frame.min() >= 0
    assert "padded with gray around 50 x 50" in video.how


def test_pad_above_and_below(tmp_path):
    frame = read_video(marked(tmp_path), size=(100, 50), fit="pad").frames[0]
    assert (frame[:25] == 128).all() and (frame[75:] == 128).all() and frame[26:74].min() < 30


def test_floats_stay_in_range_where_they_are_resized(tmp_path):
    np.save(tmp_path / "a.npy", np.kron(np.eye(2), np.ones((20, 20)))[None])
    frames = read_video(tmp_path / "a.npy", size=(50, 90)).frames
    assert frames.dtype == np.float32 and frames.min() == 0 and frames.max() == 1


def test_shrinking_is_antialiased(tmp_path):
    np.save(tmp_path / "a.npy", np.tile(np.array([0, 255], np.uint8), (1, 180, 160)))  # stripes of one pixel
    frames = read_video(tmp_path / "a.npy", size=SMALL).frames.astype(int)
    assert np.abs(frames - 127.5).max() < 3


def test_pixels_that_are_not_square(tmp_path):
    path = write(tmp_path / "a.mp4", pictures([gradient((72, 64))] * 2), aspect=Fraction(2))  # shown as 72 x 128
    video = read_video(path, size=(72, 128))
    assert np.abs(video.frames[0, :, 3:-3] - gradient((72, 128))[:, 3:-3]).max() <= 3
    assert "cropped" not in video.how and "its pixels 2 times as wide as high" in video.how


def test_videos_of_turned_phones_stand_upright(tmp_path):
    path = write(tmp_path / "a.mp4", pictures([gradient((64, 96))] * 2))
    data = bytearray(path.read_bytes())
    matrix = data.find(b"tkhd") + 44
    assert struct.unpack(">9i", data[matrix : matrix + 36]) == (65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)  # x, y -> -y, x
    path.write_bytes(data)
    video = read_video(path, size=(96, 64))
    assert np.abs(video.frames[0] - gradient((64, 96)).T).max() <= 3  # what was left is at the top
    assert "2 frames of 96 x 64" in video.how and "turned by 90 degrees clockwise" in video.how


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float16])
@pytest.mark.parametrize("channel", [(), (1,)], ids=["", "channel"])
def test_arrays_of_the_right_form_stay_on_disk(tmp_path, dtype, channel):
    array = np.random.default_rng(0).integers(0, 2, (5, 144, 256, *channel)).astype(dtype)
    np.save(tmp_path / "a.npy", array)
    check_video(tmp_path / "a.npy")
    video = read_video(str(tmp_path / "a.npy"))
    assert isinstance(video.frames, np.memmap) and video.frames.dtype == dtype
    assert (video.frames == array.reshape(5, 144, 256)).all()
    assert video.how == "a.npy: 5 frames of 144 x 256, taken as 30 Hz, as they are"
    given = read_video(tmp_path / "a.npy", frames_per_second=29.97)
    assert isinstance(given.frames, np.memmap)
    assert given.how == "a.npy: 5 frames of 144 x 256 at 29.97 Hz, taken as 30 Hz, as they are"


def test_passing_through_reads_nothing(tmp_path):
    np.save(tmp_path / "a.npy", np.full((2, 144, 256), np.nan, np.float32))
    assert np.isnan(read_video(tmp_path / "a.npy").frames).all()  # the network refuses it, when it comes to it
    with pytest.raises(
        VideoError, match=r"a.npy holds the value nan in frame 0; floats are expected to be in \[0, 1\]"
    ):
        read_video(tmp_path / "a.npy", size=SMALL)


@pytest.mark.parametrize("rate", [60, 12.5, 5])
def test_arrays_of_another_rate(tmp_path, rate):
    array = np.kron(codes(10), np.ones((1, 3, 4), np.uint8))
    np.save(tmp_path / "a.npy", array)
    video = read_video(tmp_path / "a.npy", frames_per_second=rate)
    assert frame_numbers(video) == shown(10, Fraction(rate))
    assert f"10 frames of 144 x 256 at {rate} Hz -> " in video.how
    np.save(tmp_path / "floats.npy", array / 255)
    floats = read_video(tmp_path / "floats.npy", frames_per_second=rate).frames
    assert floats.dtype == np.float32 and np.allclose(floats * 255, video.frames, atol=1e-4)


@pytest.mark.parametrize("kind", ["uint8", "float64", "zarr", "png"])
def test_colour_turns_gray_by_bt_601(tmp_path, kind):
    colours = np.random.default_rng(0).integers(0, 256, (4, *SMALL, 3), dtype=np.uint8)
    if kind == "png":
        path = tmp_path / "images"
        path.mkdir()
        for i, colour in enumerate(colours):
            Image.fromarray(colour).save(path / f"{i}.png")
    elif kind == "zarr":
        path = tmp_path / "a.zarr"
        zarr.save_array(path, colours)
    else:
        path = tmp_path / "a.npy"
        np.save(path, colours if kind == "uint8" else colours / 255)
    video = read_video(path, size=SMALL)
    frames = video.frames * (255.0 if kind == "float64" else 1.0)
    assert np.abs(frames - colours @ np.array(LUMA[BT601])).max() <= (1e-3 if kind == "float64" else 0.51)
    assert video.how.endswith("4 frames of 9 x 16, taken as 30 Hz -> 4 frames of 9 x 16 at 30 Hz, gray (BT.601)")


def test_large_arrays_are_read_frame_by_frame(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((100, 300, 400), np.uint8))  # 12 MB
    tracemalloc.start()
    try:
        read_video(tmp_path / "a.npy", size=SMALL)
        assert tracemalloc.get_traced_memory()[1] < 2e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("chunk", [1, 4, 10])
@pytest.mark.parametrize("version", [2, 3])
def test_zarr(tmp_path, chunk, version):
    array = np.random.default_rng(0).integers(0, 256, (10, *SMALL), dtype=np.uint8)
    stored = zarr.create_array(
        tmp_path / "a.zarr", shape=array.shape, dtype=array.dtype, chunks=(chunk, *SMALL), zarr_format=version
    )
    stored[:] = array
    video = read_video(tmp_path / "a.zarr", size=SMALL)
    assert isinstance(video.frames, np.ndarray) and (video.frames == array).all()
    half = read_video(tmp_path / "a.zarr", size=SMALL, frames_per_second=60)
    assert (half.frames == array[::2]).all()


def test_zarr_group(tmp_path):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=3)
    group.create_array("other", data=np.zeros(3))
    array = np.random.default_rng(0).integers(0, 256, (3, *SMALL), dtype=np.uint8)
    group.create_array("stimuli", data=array)
    assert (read_video(tmp_path / "a.zarr", size=SMALL).frames == array).all()


@pytest.mark.parametrize("key", ["frames", "stimuli", "video"])
def test_npz_keys(tmp_path, key):
    array = np.random.default_rng(0).integers(0, 256, (3, *SMALL), dtype=np.uint8)
    np.savez(tmp_path / "one.npz", whatever=array)
    np.savez_compressed(tmp_path / "named.npz", **{key: array, "times": np.arange(3)})
    for name in ("one.npz", "named.npz"):
        check_video(tmp_path / name, SMALL)
        assert (read_video(tmp_path / name, size=SMALL).frames == array).all()


def test_npz_without_a_telling_key(tmp_path):
    np.savez(tmp_path / "a.npz", left=np.zeros(3), right=np.zeros(3))
    with pytest.raises(
        VideoError,
        match=r"holds the arrays \['left', 'right'\]; expected one, or one that is named frames or stimuli or video",
    ):
        read_video(tmp_path / "a.npz")


def test_damaged_npz(tmp_path):
    np.savez(tmp_path / "a.npz", np.zeros((3, *SMALL), np.uint8))
    (tmp_path / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:-40])
    with pytest.raises(VideoError, match="a.npz cannot be read: File is not a zip file"):
        read_video(tmp_path / "a.npz")


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_pickles_are_refused(tmp_path, name):
    (np.save if name == "a.npy" else np.savez)(tmp_path / name, np.array([{}, []], object), allow_pickle=True)
    with pytest.raises(VideoError, match="holds Python objects, which are not read"):
        read_video(tmp_path / name)
    (tmp_path / "b.npy").write_bytes(b"\x80\x04N.")  # a bare pickle
    with pytest.raises(VideoError, match="b.npy holds Python objects|b.npy cannot be read"):
        read_video(tmp_path / "b.npy")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (
            np.zeros((144, 256), np.uint8),
            r"holds the shape \[144, 256\]; expected .* without a time axis: save array\[None\]",
        ),
        (np.zeros((20, 30, 3), np.uint8), "without a time axis"),
        (np.zeros((2, 3, 20, 30), np.uint8), "colours come last"),
        (np.zeros((2, 2, 20, 30, 1), np.uint8), "one video in a file"),
        (np.zeros((2, 20, 30, 4), np.uint8), "colours come last"),
        (np.zeros((0, 144, 256), np.uint8), "at least one frame"),
        (np.zeros((2, 144, 256), np.int64), r"holds int64; expected uint8, or floats in \[0, 1\].*astype\(np.uint8\)"),
        (np.zeros((2, 144, 256), bool), "holds bool"),
        (np.full((2, 20, 30), 255.0), r"holds the value 255.0 in frame 0; floats are expected to be in \[0, 1\]"),
    ],
    ids=str.split("image colour first batch alpha none int64 bool range"),
)
def test_arrays_that_are_no_video(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array)
    for read in (read_video, check_video):
        with pytest.raises(VideoError, match=f"a.npy {message}" if message.startswith("holds") else message):
            read(tmp_path / "a.npy")


def image_folder(folder, names):
    folder.mkdir()
    for name, picture in zip(names, codes(len(names)), strict=True):
        Image.fromarray(picture).save(folder / name)
    return folder


def test_images_come_in_the_order_of_their_numbers(tmp_path):
    names = ["frame1.png", "frame2.png", "frame9.png", "frame10.bmp", "Frame11.PNG", "frame100.tif"]
    folder = image_folder(tmp_path / "clip", names)
    (folder / ".hidden.png").write_bytes(b"no image")
    (folder / "notes.txt").write_text("not either")
    assert is_video(folder)
    check_video(folder)
    video = read_video(folder, size=SMALL)
    assert frame_numbers(video) == [0, 1, 2, 3, 4, 5]
    assert video.how.startswith("clip: 6 frames of 48 x 64, taken as 30 Hz -> 6 frames of 9 x 16 at 30 Hz")
    assert frame_numbers(read_video(folder, size=SMALL, frames_per_second=20)) == shown(6, 20)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.jpeg", "a.bmp", "a.tif", "a.tiff"])
def test_an_image_is_one_frame(tmp_path, name):
    Image.fromarray(np.full(SIZE, 90, np.uint8)).save(tmp_path / name)
    video = read_video(tmp_path / name)
    assert video.frames.shape == (1, 144, 256) and np.abs(video.frames.astype(int) - 90).max() <= 1
    assert len(read_video(tmp_path / name, frames_per_second=5).frames) == 1
    assert video.how == f"{name}: 1 frame of 48 x 64 -> 1 frame of 144 x 256 at 30 Hz, cropped to the middle 36 x 64"


def test_stacks_and_animated_png(tmp_path):
    images = [Image.fromarray(picture) for picture in codes(5)]
    images[0].save(tmp_path / "a.tif", save_all=True, append_images=images[1:])
    assert frame_numbers(read_video(tmp_path / "a.tif", size=SMALL)) == [0, 1, 2, 3, 4]
    assert frame_numbers(read_video(tmp_path / "a.tif", size=SMALL, frames_per_second=20)) == shown(5, 20)
    images[0].save(tmp_path / "a.png", save_all=True, append_images=images[1:], duration=100)
    assert frame_numbers(read_video(tmp_path / "a.png", size=SMALL)) == shown(5, 10)
    folder = image_folder(tmp_path / "folder", ["a.png"])
    images[0].save(folder / "b.tif", save_all=True, append_images=images[1:])
    with pytest.raises(VideoError, match="b.tif holds 5 images; expected one in each file of a folder"):
        check_video(folder)


def test_images_of_other_pixels(tmp_path):
    deep = np.arange(9 * 16, dtype=np.uint16).reshape(SMALL) * 455  # up to 65065
    for name in ("deep.png", "deep.tif"):
        Image.fromarray(deep).save(tmp_path / name)
        video = read_video(tmp_path / name, size=SMALL)
        assert (video.frames[0] == np.round(deep / 257)).all() and "16 bits divided by 257" in video.how
    Image.fromarray(deep.astype(np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(VideoError, match="float.tif has pixels of 32 bits; expected 8 or 16"):
        check_video(tmp_path / "float.tif")
    alpha = np.full((*SMALL, 4), 200, np.uint8)
    alpha[:, :8, 3], alpha[:, 8:, 3] = 255, 0
    Image.fromarray(alpha).save(tmp_path / "alpha.png")
    video = read_video(tmp_path / "alpha.png", size=SMALL)
    assert (video.frames[0, :, :8] == 200).all() and (video.frames[0, :, 8:] == 128).all()
    assert "transparent parts mid-gray" in video.how
    turned = Image.fromarray(np.round(gradient((16, 32))).astype(np.uint8))
    exif = turned.getexif()
    exif[0x0112] = 6  # shown after a turn clockwise
    turned.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    frames = read_video(tmp_path / "turned.jpg", size=(32, 16)).frames
    assert np.abs(frames[0] - gradient((16, 32)).T).max() < 4


def test_images_of_unequal_size(tmp_path):
    folder = image_folder(tmp_path / "clip", ["1.png", "2.png"])
    Image.new("L", (10, 20)).save(folder / "3.png")
    for read in (read_video, check_video):
        with pytest.raises(
            VideoError, match="3.png has 20 x 10 pixels and 1.png has 48 x 64; expected images of equal size"
        ):
            read(folder)


def test_finding_videos(tmp_path):
    for name in ("clip10.mp4", "clip9.MOV", "a.gif", "b.npy", ".hidden.mp4", "notes.txt", "poster.png"):
        (tmp_path / name).touch()
    image_folder(tmp_path / "clip1", ["1.png"])
    (tmp_path / "empty").mkdir()
    (tmp_path / "array.zarr").mkdir()
    found = find_videos(str(tmp_path))
    assert [path.name for path in found] == ["a.gif", "array.zarr", "b.npy", "clip1", "clip9.MOV", "clip10.mp4"]
    assert all(is_video(path) for path in found) and is_video(str(tmp_path / "poster.png"))
    assert not is_video(tmp_path / "notes.txt") and not is_video(tmp_path / "empty") and not is_video(tmp_path)
    with pytest.raises(VideoError, match="holds images and videos, such as poster.png and a.gif; expected only images"):
        read_video(tmp_path)
    with pytest.raises(NotADirectoryError, match="b.npy is a file; expected a folder of videos"):
        find_videos(tmp_path / "b.npy")
    with pytest.raises(FileNotFoundError, match="nowhere does not exist; expected a folder of videos"):
        find_videos(tmp_path / "nowhere")
    with pytest.raises(
        VideoError, match=r"empty holds no video; expected files that end in .npy .npz .*\.gif, or folders of images"
    ):
        find_videos(tmp_path / "empty")
    with pytest.raises(VideoError, match="clip1 holds 1 images, such as 1.png, and no videos; .*pass it to read_video"):
        find_videos(tmp_path / "clip1")


def test_what_is_not_there_or_not_known(tmp_path):
    for read in (read_video, check_video):
        with pytest.raises(FileNotFoundError, match="a.mp4 does not exist; expected a video"):
            read(tmp_path / "a.mp4")
        (tmp_path / "a.wmv").touch()
        with pytest.raises(
            VideoError, match=r"a.wmv ends in '.wmv'; expected a folder of images, or .npy .* .mp4 .*.png"
        ):
            read(tmp_path / "a.wmv")
        with pytest.raises(VideoError, match="is a folder without images; expected .bmp .*find_videos"):
            (tmp_path / "empty").mkdir(exist_ok=True)
            read(tmp_path / "empty")


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.gif", "a.png", "a.tif", "a.npy", "a.npz", "a.zarr"])
@pytest.mark.parametrize("content", [b"", b"no video at all\n" * 30], ids=["empty", "text"])
def test_files_that_are_something_else(tmp_path, capfd, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    for read in (read_video, check_video):
        with pytest.raises(VideoError, match=f"{name} (cannot be read: .*Get it again|holds Python objects)"):
            read(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "libx264"),
        ("a.mov", "mpeg4"),
        ("a.mkv", "libx264"),
        ("a.webm", "libvpx"),
        ("a.avi", "mpeg4"),
        ("a.mpg", "mpeg2video"),
    ],
)
@pytest.mark.parametrize("part", [0.95, 0.5])
def test_cut_videos_are_refused(tmp_path, capfd, name, codec, part):
    faststart = {"movflags": "+faststart"} if name in ("a.mp4", "a.mov") else None  # header first, so that it opens
    path = write(tmp_path / name, noise(40), codec=codec, options=faststart)
    assert len(read_video(path, size=SMALL).frames) == 40
    whole = path.stat().st_size
    path.write_bytes(path.read_bytes()[: int(whole * part)])
    by_size = f"is incomplete: it has {int(whole * part)} bytes, expected {whole} by its header"
    expected = "is damaged or incomplete after" if name in ("a.avi", "a.mpg") else by_size
    with pytest.raises(VideoError, match=f"{name} {expected}"):
        read_video(path, size=SMALL)
    if expected == by_size:
        with pytest.raises(VideoError, match=by_size):
            check_video(path)
    assert capfd.readouterr() == ("", "")


def test_parts_of_unknown_length_reach_to_the_end(tmp_path):
    path = write(tmp_path / "a.webm", pictures(codes(20)), codec="libvpx", options={"live": "1"})  # as browsers record
    assert frame_numbers(read_video(path, size=SMALL)) == list(range(20))
    path = write(tmp_path / "a.mp4", pictures(codes(20)), options={"movflags": "+faststart"})
    data = bytearray(path.read_bytes())
    at = data.find(b"mdat") - 4
    data[at : at + 4] = bytes(4)
    path.write_bytes(data)
    assert frame_numbers(read_video(path, size=SMALL)) == list(range(20))
    path = write(tmp_path / "b.mp4", pictures(codes(20)))
    path.write_bytes(path.read_bytes() + b"\xff\xff\xff\xffsome more")  # what others appended is not its part
    assert frame_numbers(read_video(path, size=SMALL)) == list(range(20))


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "mpeg4"), ("a.avi", "mpeg4"), ("a.mpg", "mpeg2video")])
def test_frames_damaged_in_the_middle_are_refused(tmp_path, name, codec):
    path = write(tmp_path / name, noise(30), codec=codec)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 2000] = bytes(2000)
    path.write_bytes(data)
    with pytest.raises(VideoError, match=f"{name} .*damaged or incomplete"):
        read_video(path, size=SMALL)


def test_header_at_the_end_and_lost(tmp_path):
    path = write(tmp_path / "a.mp4", noise(10))
    data = path.read_bytes()
    path.write_bytes(data[: data.find(b"moov") - 4])
    for read in (read_video, check_video):
        with pytest.raises(
            VideoError, match="a.mp4 cannot be read: Invalid data found when processing input. It is damaged"
        ):
            read(path)


@pytest.mark.parametrize("lost", [1, 100, 3000])
def test_cut_gif_is_refused(tmp_path, lost):
    images = [Image.fromarray(frame) for frame in noise(4)]
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:], duration=40)
    path = tmp_path / "a.gif"
    assert len(read_video(path).frames) == 5
    path.write_bytes(path.read_bytes()[:-lost])
    with pytest.raises(VideoError, match="a.gif (is incomplete|cannot be read)"):
        read_video(path)


def test_cut_images_and_arrays_are_refused(tmp_path):
    folder = tmp_path / "clip"
    folder.mkdir()
    for i, frame in enumerate(noise(3)):
        Image.fromarray(frame).save(folder / f"{i}.png")
    (folder / "2.png").write_bytes((folder / "2.png").read_bytes()[:2000])
    check_video(folder)  # headers and the first frame are sound
    with pytest.raises(VideoError, match="clip/2.png cannot be read: .*truncated"):
        read_video(folder)
    np.save(tmp_path / "a.npy", np.zeros((3, 144, 256), np.uint8))
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-1])
    with pytest.raises(VideoError, match="a.npy cannot be read: mmap length is greater than file size"):
        check_video(tmp_path / "a.npy")


def test_files_without_video(tmp_path):
    sound = io.BytesIO()
    with wave.open(sound, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(1600))
    (tmp_path / "sound.mp4").write_bytes(sound.getvalue())
    for read in (read_video, check_video):
        with pytest.raises(VideoError, match="sound.mp4 has no video stream, it has audio; expected a video"):
            read(tmp_path / "sound.mp4")


def test_times_that_are_damaged(tmp_path):
    path = write(tmp_path / "a.mkv", pictures(codes(3)), 30, pts=[0, 33, 20_000_000])
    with pytest.raises(
        VideoError,
        match="a.mkv: its frame 1 is shown for (19999.*|20000) s by its time stamps; expected 0 to 3600 s.*frames_per_second",
    ):
        read_video(path, size=SMALL)
    assert frame_numbers(read_video(path, size=SMALL, frames_per_second=30)) == [0, 1, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 144}, r"size is 144; expected \(height, width\), such as \(144, 256\)"),
        ({"size": (144, 0)}, "size is"),
        ({"size": (144, 25.6)}, "size is"),
        ({"size": (1, 144, 256)}, "size is"),
        ({"fit": "zoom"}, "fit is 'zoom'; expected one of crop, pad, stretch"),
        ({"frames_per_second": 0}, "frames_per_second is 0; expected a positive number, or None"),
        ({"frames_per_second": math.nan}, "frames_per_second is nan"),
        ({"frames_per_second": math.inf}, "frames_per_second is inf"),
    ],
    ids=str.split("int zero float three fit rate0 nan inf"),
)
def test_arguments(tmp_path, arguments, message):
    for read in (read_video, check_video):
        with pytest.raises(ValueError, match=message):
            read(tmp_path / "a.mp4", **arguments)


def test_names_that_look_like_protocols(tmp_path, monkeypatch):
    write(tmp_path / "12:30 %d.mp4", pictures(codes(3)))
    monkeypatch.chdir(tmp_path)
    assert frame_numbers(read_video("12:30 %d.mp4", size=SMALL)) == [0, 1, 2]


def test_packages_are_imported_on_use_and_named_if_missing(tmp_path, monkeypatch):
    code = "import sys, fnn_jax.videos; print(sorted({'av', 'PIL', 'zarr'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    path = write(tmp_path / "a.mp4", pictures(codes(1)))
    for package, name in (("av", "av"), ("pillow", "PIL")):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, name, None)
            message = re.escape(f"a.mp4 needs the package {package}: pip install {package}")
            for read in (read_video, check_video):
                with pytest.raises(ImportError, match=f"Reading .*{message}"):
                    read(path)


def test_what_needs_no_av(tmp_path, monkeypatch):
    """Arrays, .gif and images are read without the extra ``video``."""
    monkeypatch.setitem(sys.modules, "av", None)
    np.save(tmp_path / "a.npy", np.zeros((3, *SMALL), np.uint8))
    Image.new("L", SMALL[::-1]).save(tmp_path / "a.png")
    Image.new("L", SMALL[::-1]).save(tmp_path / "a.gif")
    for name, frames in (("a.npy", 3), ("a.png", 1), ("a.gif", 1)):
        assert len(read_video(tmp_path / name, size=SMALL).frames) == frames
