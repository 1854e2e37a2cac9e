"""The interactive page: time line, speed, who is shown, heights of joints over time."""

import threading
import time
import webbrowser
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from poselift.errors import InputError
from poselift.poses import Poses3D
from poselift.view.page import legend, quiet_server, thumbnails
from poselift.view.scene import Figure, Scene, Thumbnail
from poselift.view.stage import Stage, stage
from poselift.view.style import RGB, accent
from poselift.view.video import TimedImage

if TYPE_CHECKING:
    import viser
    from viser.uplot import Scale, Series
    from viser.uplot import Series_Points as Points

SPEEDS = ("0.1x", "0.25x", "0.5x", "1x", "2x", "4x")
_TICK_S = 1 / 60
_SLIDER_EVERY_S = 0.1  # the slider follows slowly: each move is a message to every browser


class Player:
    """Where the play-back stands: time, speed, playing or not. Starts again at the end."""

    def __init__(self, time_s: NDArray[np.floating]) -> None:
        self._time_s = time_s
        self.now_s = float(time_s[0])
        self.speed = 1.0
        self.playing = True

    @property
    def frame(self) -> int:
        """The last frame that is not after now."""
        return max(int(np.searchsorted(self._time_s, self.now_s + 1e-9, side="right")) - 1, 0)

    def advance(self, elapsed_s: float) -> None:
        """Let `elapsed_s` seconds of the clock on the wall pass."""
        if not self.playing:
            return
        first, last = float(self._time_s[0]), float(self._time_s[-1])
        step = float(np.median(np.diff(self._time_s))) if len(self._time_s) > 1 else 1.0
        self.now_s += elapsed_s * self.speed
        if self.now_s >= last + step:  # the last frame is shown as long as the others
            self.now_s = first

    def step(self, frames: int) -> None:
        """Stop, and go `frames` on or back."""
        self.playing = False
        self.now_s = float(self._time_s[np.clip(self.frame + frames, 0, len(self._time_s) - 1)])


class LiveView:
    """Scene and controls in one server; `tick` is called again and again by one thread."""

    def __init__(
        self, server: "viser.ViserServer", shown: Stage, pictures: Sequence[Thumbnail] = ()
    ) -> None:
        self.player = Player(shown.time_s)
        self.scene = Scene(server, shown, pictures)
        self._shown_frame = 0
        self._stale = threading.Event()  # somebody was switched on or off: draw again
        self._slider_age_s = 0.0
        server.gui.add_markdown(_markdown(shown))
        self._add_time(server.gui, shown)
        with server.gui.add_folder("Show"):
            for figure in self.scene.figures:
                self._add_switch(server.gui, figure)
            self._add_extras(server.gui)
        _add_heights(server.gui, shown)

    def tick(self, elapsed_s: float) -> None:
        """Advance by `elapsed_s` and show the frame that is due."""
        self.player.advance(elapsed_s)
        frame = self.player.frame
        if frame != self._shown_frame or self._stale.is_set():
            self._stale.clear()
            self._shown_frame = frame
            self.scene.show(frame)
        self._slider_age_s += elapsed_s
        if self._slider_age_s >= _SLIDER_EVERY_S:
            self._slider_age_s = 0.0
            low, high = self._slider.min, self._slider.max
            self._slider.value = round(min(max(self.player.now_s, low), high), 2)
            self._play.value = self.player.playing

    def _add_time(self, gui: "viser.GuiApi", shown: Stage) -> None:
        first, last = round(float(shown.time_s[0]), 2), round(float(shown.time_s[-1]), 2)
        with gui.add_folder("Time"):
            self._slider = gui.add_slider(
                "Seconds", min=first, max=max(last, first + 0.01), step=0.01, initial_value=first
            )
            self._play = gui.add_checkbox("Play", initial_value=True)
            speed = gui.add_dropdown("Speed", SPEEDS, initial_value="1x")
            steps = gui.add_button_group("Frame", ("◀", "▶"))
        player = self.player

        @self._slider.on_update
        def _(event: "viser.GuiEvent") -> None:
            if event.client is not None:  # moved by a hand, not by the play-back
                player.playing = False
                player.now_s = float(self._slider.value)

        @self._play.on_update
        def _(event: "viser.GuiEvent") -> None:
            if event.client is not None:
                player.playing = bool(self._play.value)

        @speed.on_update
        def _(_: "viser.GuiEvent") -> None:
            player.speed = float(speed.value.removesuffix("x"))

        @steps.on_click
        def _(_: "viser.GuiEvent") -> None:
            player.step(-1 if steps.value == "◀" else 1)

    def _add_switch(self, gui: "viser.GuiApi", figure: Figure) -> None:
        switch = gui.add_checkbox(figure.name.removeprefix("/"), initial_value=True)

        @switch.on_update
        def _(_: "viser.GuiEvent") -> None:
            figure.enabled = bool(switch.value)
            self._stale.set()

    def _add_extras(self, gui: "viser.GuiApi") -> None:
        halos = [figure.halo for figure in self.scene.figures if figure.halo is not None]
        if halos:
            switch = gui.add_checkbox(
                "uncertainty", initial_value=False, hint="radius: one standard deviation"
            )

            @switch.on_update
            def _(_: "viser.GuiEvent") -> None:
                for halo in halos:
                    halo.visible = bool(switch.value)

        frustum = self.scene.frustum
        if frustum is not None:
            camera = gui.add_checkbox("camera", initial_value=True)

            @camera.on_update
            def _(_: "viser.GuiEvent") -> None:
                frustum.visible = bool(camera.value)


def serve(
    people: Sequence[Poses3D],
    port: int = 8080,
    *,
    open_browser: bool = True,
    frames: Iterable[TimedImage] | None = None,
    on_ready: Callable[[str], None] | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Show `people` (one time axis) on an interactive page until Ctrl-C, or until `stop` is set.

    Only this computer can open the page. The port is the next free one from `port` on (0: any);
    `on_ready` is called with the address. `frames` (a video) are shown in the camera's frustum.
    Raises MissingExtraError (viser), InputError.
    """
    if not 0 <= port <= 65535:
        raise InputError("port", expected="0 to 65535", found=port)
    shown = stage(people)
    pictures = thumbnails(frames, shown.time_s, most=300, width_px=320) if frames else []
    stop = stop or threading.Event()
    with suppress(KeyboardInterrupt), quiet_server(port) as server:
        view = LiveView(server, shown, pictures)
        address = f"http://127.0.0.1:{server.get_port()}"
        if on_ready is not None:
            on_ready(address)
        if open_browser:
            webbrowser.open(address)
        _run(view, stop)


def _run(view: LiveView, stop: threading.Event) -> None:
    last_s = time.monotonic()
    while not stop.wait(_TICK_S):
        now_s = time.monotonic()
        view.tick(now_s - last_s)
        last_s = now_s


def _markdown(shown: Stage) -> str:
    lines = [_markdown_line(text, rgb) for text, rgb in legend(shown, shown.notes)]
    return "  \n".join(lines)


def _markdown_line(text: str, rgb: RGB | None) -> str:
    return text if rgb is None else f'<span style="color:{_css(rgb)}">⬤</span> {text}'


def _css(rgb: RGB) -> str:
    return "#" + "".join(f"{value:02x}" for value in rgb)


def _add_heights(gui: "viser.GuiApi", shown: Stage) -> None:
    """A plot of the height of one joint of everybody over time."""
    joints = [name for name in shown.people[0].skeleton.joints if _common(name, shown)]
    if not joints or len(shown.time_s) < 2:
        return
    series: list[Series] = [{"label": "s"}]
    for number in range(len(shown.people)):
        colour = _css(accent(number))
        # Dots, as a line would be drawn on through the time in which a person is absent.
        dots: Points = {"show": True, "size": 3, "fill": colour, "stroke": colour}
        series.append(
            {"label": f"person {number + 1}", "stroke": colour, "width": 0, "points": dots}
        )
    with gui.add_folder("Height (m)"):
        choice = gui.add_dropdown("Joint", joints, initial_value=joints[0])
        plot = gui.add_uplot(
            _heights(shown, joints[0]),
            tuple(series),
            scales=_ranges(shown, joints[0]),
            axes=({"stroke": "#cdd3dc"}, {"stroke": "#cdd3dc"}),
            aspect=1.6,
        )

    @choice.on_update
    def _(_: "viser.GuiEvent") -> None:
        plot.data = _heights(shown, choice.value)
        plot.scales = _ranges(shown, choice.value)


def _ranges(shown: Stage, joint: str) -> dict[str, "Scale"]:
    """Fixed axes: the plot cannot find them itself where a person is absent (NaN)."""
    heights = np.concatenate(_heights(shown, joint)[1:])
    seen = heights[np.isfinite(heights)]
    low, high = (float(seen.min()), float(seen.max())) if len(seen) else (0.0, 1.0)
    margin = max(0.05 * (high - low), 0.01)
    return {
        "x": {"time": False, "range": (float(shown.time_s[0]), float(shown.time_s[-1]))},
        "y": {"range": (low - margin, high + margin)},
    }


def _common(joint: str, shown: Stage) -> bool:
    return all(joint in poses.skeleton for poses in shown.people)


def _heights(shown: Stage, joint: str) -> tuple[NDArray[np.float64], ...]:
    heights = [
        xyz[:, poses.skeleton.index(joint), 2]
        for poses, xyz in zip(shown.people, shown.xyz_m, strict=True)
    ]
    return tuple(np.asarray(values, dtype=np.float64) for values in (shown.time_s, *heights))
