"""The player: a stimulus, the retinal image and the responses of some units, run along in the browser."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import panel as pn
from bokeh.models import ColumnDataSource, LinearColorMapper, Range1d
from bokeh.models.annotations.geometry import Span
from bokeh.plotting import figure

from fnn_jax.common.figures import REFERENCE, SIDE_BY_SIDE
from fnn_jax.common.rate import HZ
from fnn_jax.explorer.buttons import picture_buttons
from fnn_jax.explorer.markdown import fenced, went_wrong
from fnn_jax.explorer.playing import CHOICES, VIDEO, Behaviour, Played
from fnn_jax.explorer.state import State

ASK_MS = 250  # between looks at what is computed
BEHAVIOUR = {
    "eye_x": "eye, horizontal (z-score)",
    "eye_y": "eye, vertical (z-score)",
    "pupil": "pupil radius (z-score)",
    "running": "running speed (z-score)",
}
GRAYS = [f"#{level:02x}{level:02x}{level:02x}" for level in range(256)]
# All frames are in the browser, which changes them without asking the server.
SHOW_FRAME = """
const frame = cb_obj.value
if (frame < frames.data.monitor.length) {
  monitor.data = {image: [frames.data.monitor[frame]]}
  retina.data = {image: [frames.data.retina[frame]]}
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
        self._parameters = pn.Column()
        self._behaviour = {
            name: pn.widgets.FloatSlider(label=label, start=-3, end=3, step=0.25, value=0)
            for name, label in BEHAVIOUR.items()
        }
        self.button = pn.widgets.Button(label="Compute and play", color="primary")
        self.button.on_click(tried(lambda event: self._play()))
        self.status = pn.pane.Markdown()
        self._code = pn.pane.Markdown()
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
        self._files = pn.Column(*picture_buttons(self._picture, "played", "Frame and traces"), visible=False)
        self._choose()
        self._build_figures()
        pictures = [
            pn.pane.Bokeh(each, stylesheets=[stylesheet], sizing_mode="stretch_width") for each in self._pictures
        ]
        self._shown = pn.Column(
            self._player,
            pn.FlexBox(*pictures),
            pn.pane.Bokeh(self._traces, sizing_mode="stretch_width"),
            visible=False,
            styles={"min-width": "0"},
            sizing_mode="stretch_width",
        )
        controls = [self._stimulus, self._path, self._parameters, *self._behaviour.values(), self.button]
        controls += [self._csv, self._files]
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
        self._path.visible = name == VIDEO
        self._sliders = {
            each.keyword: pn.widgets.FloatSlider(
                label=each.label, start=each.low, end=each.high, step=each.step, value=each.value
            )
            for each in (CHOICES[name].parameters if name in CHOICES else ())
        }
        self._parameters.objects = list(self._sliders.values())

    def _play(self) -> None:
        values = {name: slider.value for name, slider in self._sliders.items()}
        behaviour = Behaviour(**{name: float(slider.value or 0) for name, slider in self._behaviour.items()})
        self._state.play(self._stimulus.value, values, self._path.value or "", behaviour)
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
                    "Choose a stimulus, and rows of the table of units (Ctrl adds one, at most six of one scan; "
                    "none: the first of those chosen)."
                )

    def _show(self, played: Played) -> None:
        remark = f"; {played.remark}" if played.remark else ""
        self.status.object = f"{len(played.frames)} frames, {len(played.frames) / HZ:.2g} s{remark}"
        self._frames.data = {"monitor": list(played.frames[:, ::-1]), "retina": list(played.retina[:, ::-1])}
        for picture, source, first in zip(
            self._pictures, self._sources, (played.frames[0], played.retina[0]), strict=True
        ):
            source.data = {"image": [first[::-1]]}
            picture.aspect_ratio = first.shape[1] / first.shape[0]
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
        """The monitor, the retina, and the responses with a line where the frame is."""
        black = np.zeros((2, 2), np.uint8)
        self._frames = ColumnDataSource({"monitor": [black], "retina": [black]})
        self._sources = [ColumnDataSource({"image": [black]}) for _ in range(2)]
        self._pictures = []
        for title, source in zip(("monitor", "retinal image"), self._sources, strict=True):
            picture = figure(
                title=title,
                x_range=Range1d(start=0, end=1),
                y_range=Range1d(start=0, end=1),
                tools="",
                toolbar_location=None,
                aspect_ratio=1.7,
                sizing_mode="stretch_width",
                min_width=260,
            )
            picture.axis.visible = picture.grid.visible = False
            mapper = LinearColorMapper(palette=GRAYS, low=0, high=255)
            picture.image("image", x=0, y=0, dw=1, dh=1, source=source, color_mapper=mapper)  # type: ignore[call-arg]
            self._pictures.append(picture)
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
        monitor, retina = self._sources
        self._player.jscallback(
            value=SHOW_FRAME, args={"frames": self._frames, "monitor": monitor, "retina": retina, "cursor": cursor}
        )

    def _picture(self, kind: str) -> bytes:
        """Of the frame that is shown; the lines of Python are those of this one."""
        frame = int(self._player.value)
        self._show_code(frame)
        return self._state.played_picture(kind, frame)

    def _file(self) -> io.BytesIO:
        return io.BytesIO(self._state.playing.result.csv())
