"""The player: a stimulus, the retinal image, a map inside and responses of some units, run along in the browser."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import panel as pn
from bokeh.models import ColumnDataSource, LinearColorMapper, Range1d
from bokeh.models.annotations.geometry import Span
from bokeh.models.annotations.labels import Title
from bokeh.models.annotations.legends import ColorBar
from bokeh.plotting import figure
from matplotlib import colormaps
from matplotlib.colors import to_hex

from fnn_jax.common.figures import REFERENCE, SIDE_BY_SIDE
from fnn_jax.common.rate import HZ
from fnn_jax.explorer.buttons import picture_buttons
from fnn_jax.explorer.dropping import MOST_MB
from fnn_jax.explorer.inner import InnerMap, color_scale, map_names
from fnn_jax.explorer.markdown import fenced, went_wrong
from fnn_jax.explorer.playing import CHOICES, VIDEO, Behaviour, Played
from fnn_jax.explorer.reachable import code_pane
from fnn_jax.explorer.state import State

ASK_MS = 250  # between looks at what is computed
BEHAVIOUR = {
    "eye_x": "eye, horizontal (z-score)",
    "eye_y": "eye, vertical (z-score)",
    "pupil": "pupil radius (z-score)",
    "running": "running speed (z-score)",
}
DROP = f"Or a file to drop here, of at most {MOST_MB} MB"
NO_MAP, MEAN = "none", "mean |activation| of all"
PICTURE = ":host { flex: 1 1 16rem; width: auto; min-width: 0; max-width: 34rem; }"  # three in a row of a wide page
GRAYS = [f"#{level:02x}{level:02x}{level:02x}" for level in range(256)]
# All frames are in the browser, which changes them without asking the server.
SHOW_FRAME = """
const frame = cb_obj.value
if (frame < frames.data.monitor.length) {
  monitor.data = {image: [frames.data.monitor[frame]]}
  retina.data = {image: [frames.data.retina[frame]]}
  inner.data = {image: [frames.data.inner[frame]]}
  cursor.location = frame / HZ
}
""".replace("HZ", str(HZ))


class PlayerPane:
    """Widgets of Panel, ``layout``, around what a state plays.

    Args:
        tried: makes an action whose errors are said in the page.

    Attributes:
        button, status: what tests look at: what begins it, and how far it is.
    """

    def __init__(self, state: State, tried: Callable[[Any], Any], stylesheet: str):
        self._state, self._seen = state, -1
        self._sliders: dict[str, Any] = {}
        self._stimulus = pn.widgets.Select(label="Stimulus", options=[*CHOICES, VIDEO])
        self._stimulus.param.watch(tried(lambda event: self._choose()), "value")
        self._path = pn.widgets.TextInput(label="Path of a file on this computer", placeholder="clip.mp4")
        self._drop = pn.widgets.FileDropper(label=DROP, max_file_size=f"{MOST_MB}MB", previews=[], width=260)
        self._drop.param.watch(tried(lambda event: self._keep_dropped()), "value")
        self._parameters = pn.Column()
        self._behaviour = {
            name: pn.widgets.FloatSlider(label=label, start=-3, end=3, step=0.25, value=0)
            for name, label in BEHAVIOUR.items()
        }
        names = map_names(state.table.twins[0].config)
        self._inner = pn.widgets.Select(label="Inner map", options=[NO_MAP, *names])
        self._inner.param.watch(tried(lambda event: self._choose_map()), "value")
        self._stream = pn.widgets.Select(label="Stream of the map", visible=False)
        self._channel = pn.widgets.Select(label="Channels of the map", visible=False)
        self.button = pn.widgets.Button(label="Compute and play", color="primary")
        self.button.on_click(tried(lambda event: self._play()))
        self.status = pn.pane.Markdown()
        self._code = code_pane()
        self._player = pn.widgets.Player(
            start=0,
            end=1,
            interval=round(1000 / HZ),
            loop_policy="loop",
            show_loop_controls=False,
            visible_buttons=["previous", "pause", "play", "next"],
            sizing_mode="stretch_width",
            min_width=0,
            visible=False,
        )
        self._csv = pn.widgets.FileDownload(
            callback=self._file, filename="responses.csv", label="Responses as CSV", visible=False
        )
        self._map_file = pn.widgets.FileDownload(
            callback=lambda: io.BytesIO(state.playing.result.inner_file()),
            filename="inner_map.npy",
            label="Inner map as NPY",
            visible=False,
        )
        self._files = pn.Column(*picture_buttons(self._picture, "played", "Frame and traces"), visible=False)
        self._choose()
        self._build_figures()
        pictures = [pn.pane.Bokeh(each, stylesheets=[PICTURE], sizing_mode="stretch_width") for each in self._pictures]
        self._inner_pane = pictures[-1]
        self._shown = pn.Column(
            self._player,
            pn.FlexBox(*pictures),
            pn.pane.Bokeh(self._traces, sizing_mode="stretch_width"),
            visible=False,
            styles={"min-width": "0"},
            sizing_mode="stretch_width",
        )
        controls = [self._stimulus, self._path, self._drop, self._parameters, *self._behaviour.values()]
        controls += [self._inner, self._stream, self._channel, self.button, self._csv, self._map_file, self._files]
        self.layout = pn.FlexBox(
            pn.Column(*controls, styles={"flex": "0 1 18rem"}, width=280, margin=(0, 16, 0, 0)),
            pn.Column(self.status, self._shown, self._code, stylesheets=[stylesheet], sizing_mode="stretch_width"),
            align_items="flex-start",
            gap="1rem",
        )
        self.look()
        if pn.state.curdoc is not None:
            pn.state.add_periodic_callback(self.look, ASK_MS)

    def _choose(self) -> None:
        """The sliders of the stimulus."""
        name = self._stimulus.value
        self._path.visible = self._drop.visible = name == VIDEO
        self._sliders = {
            each.keyword: pn.widgets.FloatSlider(
                label=each.label, start=each.low, end=each.high, step=each.step, value=each.value
            )
            for each in (CHOICES[name].parameters if name in CHOICES else ())
        }
        self._parameters.objects = list(self._sliders.values())

    def _keep_dropped(self) -> None:
        """A dropped file is played by its path, like any other; the widget keeps none of it."""
        files = dict(self._drop.value)
        self._drop.value.clear()
        for name, content in files.items():  # Panel has decoded what is text
            self._path.value = self._state.dropped.keep(name, content.encode() if isinstance(content, str) else content)

    def _choose_map(self) -> None:
        """The streams and channels of the map."""
        name, is_map = self._inner.value, self._inner.value != NO_MAP
        if is_map:
            streams, *_, channels = self._state.inner_shapes()[name]
            self._stream.options = list(range(streams))
            self._channel.options = [MEAN, *map(str, range(channels))]
        self._stream.visible = self._channel.visible = is_map

    def _inner_map(self) -> InnerMap | None:
        if self._inner.value == NO_MAP:
            return None
        channel = None if self._channel.value == MEAN else int(self._channel.value)
        return InnerMap(self._inner.value, self._stream.value, channel)

    def _play(self) -> None:
        values = {name: slider.value for name, slider in self._sliders.items()}
        behaviour = Behaviour(**{name: float(slider.value or 0) for name, slider in self._behaviour.items()})
        self._state.play(self._stimulus.value, values, self._path.value or "", behaviour, self._inner_map())
        self.look()

    def look(self) -> None:
        """Say how far the work is; show what is new."""
        work = self._state.playing
        self.button.disabled = work.is_busy
        if work.is_busy:
            self.status.object = f"Computing: {work.said}"
        elif self._seen != work.finished:
            self._seen = work.finished
            if work.error:
                self.status.object = went_wrong(work.error)
            elif work.result is not None:
                self._show(work.result)
            else:
                self.status.object = (
                    "Choose a stimulus, and rows of the table of units (Ctrl adds one; at most six, of any scans and "
                    "weights; none: the first of those chosen)."
                )

    def _show(self, played: Played) -> None:
        remark = f"; {played.remark}" if played.remark else ""
        self.status.object = f"{len(played.frames)} frames, {len(played.frames) / HZ:.2g} s{remark}"
        inner = np.zeros((len(played.frames), 1, 1), np.float32) if played.inner is None else played.inner
        shown = {"monitor": played.frames, "retina": played.retina, "inner": inner}
        self._frames.data = {name: list(images[:, ::-1]) for name, images in shown.items()}
        for picture, source, images in zip(self._pictures, self._sources, shown.values(), strict=True):
            source.data = {"image": [images[0, ::-1]]}
            picture.aspect_ratio = images.shape[2] / images.shape[1]
        colors, (low, high) = color_scale(inner)
        self._mapper.update(palette=[to_hex(color) for color in colormaps[colors](range(256))], low=low, high=high)
        self._inner_title.text = played.inner_label
        self._inner_pane.visible = self._map_file.visible = played.inner is not None
        time = (np.arange(len(played.responses)) / HZ).tolist()
        count = len(played.names)
        self._lines.data = {
            "x": [time] * count,
            "y": played.responses.T.tolist(),
            "color": list(SIDE_BY_SIDE[:count]),
            "name": list(played.names),
        }
        self._player.param.update(end=len(played.frames) - 1, value=0, visible=True)
        self._shown.visible = self._csv.visible = self._files.visible = True
        self._show_code(0)

    def _show_code(self, frame: int) -> None:
        self._code.object = f"### The same in Python\n\n{fenced(self._state.played_code(frame))}"

    def _build_figures(self) -> None:
        """The monitor, the retina, a map inside, and the responses with a line where the frame is."""
        black = np.zeros((2, 2), np.uint8)
        self._frames = ColumnDataSource({"monitor": [black], "retina": [black], "inner": [black]})
        self._sources = [ColumnDataSource({"image": [black]}) for _ in range(3)]
        self._pictures = []
        grays = LinearColorMapper(palette=GRAYS, low=0, high=255)
        self._mapper = LinearColorMapper(palette=GRAYS)
        self._inner_title = Title(text="inner map", text_font_size="11px")
        mappers = {"monitor": grays, "retinal image": grays, "inner map": self._mapper}
        for (title, mapper), source in zip(mappers.items(), self._sources, strict=True):
            picture = figure(
                title=self._inner_title if mapper is self._mapper else title,
                x_range=Range1d(start=0, end=1),
                y_range=Range1d(start=0, end=1),
                tools="",
                toolbar_location=None,
                aspect_ratio=1.7,
                sizing_mode="stretch_width",
                min_width=260,
            )
            picture.axis.visible = picture.grid.visible = False
            picture.image("image", x=0, y=0, dw=1, dh=1, source=source, color_mapper=mapper)  # type: ignore[call-arg]
            self._pictures.append(picture)
        self._pictures[-1].add_layout(ColorBar(color_mapper=self._mapper, width=10, title=""), "right")
        self._lines = ColumnDataSource({"x": [], "y": [], "color": [], "name": []})
        self._traces = figure(
            title="responses",
            height=340,
            tools="",
            toolbar_location=None,
            sizing_mode="stretch_width",
            x_axis_label="time (s)",
            y_axis_label="response per frame",
        )
        self._traces.grid.visible = False
        self._traces.multi_line("x", "y", line_color="color", line_width=1.5, legend_field="name", source=self._lines)
        self._traces.add_layout(self._traces.legend[0], "below")
        self._traces.legend.update(ncols=2, label_text_font_size="11px", padding=2, border_line_color=None)
        cursor = Span(location=0, dimension="height", line_color=REFERENCE)
        self._traces.add_layout(cursor)
        sources = dict(zip(("monitor", "retina", "inner"), self._sources, strict=True))
        self._player.jscallback(value=SHOW_FRAME, args={"frames": self._frames, "cursor": cursor, **sources})

    def _picture(self, kind: str) -> bytes:
        """Of the frame that is shown; the lines of Python are those of this one."""
        frame = int(self._player.value)
        self._show_code(frame)
        return self._state.played_picture(kind, frame)

    def _file(self) -> io.BytesIO:
        return io.BytesIO(self._state.playing.result.csv())
