"""One stand-alone HTML page that plays the motion of everybody, offline."""

import html
import os
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from poselift.errors import InputError, MissingExtraError
from poselift.io.files import atomic
from poselift.poses import Poses3D
from poselift.view.scene import Scene, Thumbnail
from poselift.view.stage import Stage, stage
from poselift.view.style import RGB, SIDE_RGB, accent
from poselift.view.video import TimedImage

if TYPE_CHECKING:
    import viser

MAX_RATE_HZ = 30.0
MAX_POSES = 9000  # of all people together: 5 minutes of one person, a page of about 4 MB
_LEAST_RATE_HZ = 10.0
_THUMBNAIL_RATE_HZ = 5.0


def write_page(
    path: str | os.PathLike[str],
    people: Sequence[Poses3D],
    *,
    frames: Iterable[TimedImage] | None = None,
    max_rate_hz: float = MAX_RATE_HZ,
    title: str = "poselift",
) -> tuple[str, ...]:
    """Write the motion of `people` (one time axis) as one HTML file with time line and speed.

    The page needs no network and no server. `frames` (read one by one) are shown small in the
    camera's frustum. At most max_rate_hz poses per second and `MAX_POSES` poses are written: longer
    motion is thinned to 10 Hz, then cut. Returns what was assumed or left out, which the page says
    too. Raises MissingExtraError (viser), InputError, OutputError.
    """
    if not 0 < max_rate_hz < np.inf:
        raise InputError("max_rate_hz", expected="a number > 0", found=max_rate_hz)
    shown = stage(people)
    chosen, notes = sample(shown.time_s, len(shown.people), max_rate_hz)
    notes = (*shown.notes, *notes)
    pictures = thumbnails(frames, shown.time_s, most=60, width_px=256) if frames else []
    with quiet_server(port=0) as server:
        text = _record(server, Scene(server, shown, pictures), chosen)
    with atomic(path) as temporary:
        temporary.write_text(_with_legend(text, shown, title, notes), encoding="utf-8")
    return notes


def sample(
    time_s: NDArray[np.floating], people: int, max_rate_hz: float
) -> tuple[NDArray[np.integer], tuple[str, ...]]:
    """Which frames a page shows, and what to say where they are not all."""
    budget = max(MAX_POSES // people, 2)
    span_s = float(time_s[-1] - time_s[0])
    chosen = _ticks(time_s, max_rate_hz)
    notes = []
    if len(chosen) > budget:
        rate_hz = max((budget - 1) / span_s, _LEAST_RATE_HZ)
        before, chosen = len(chosen), _ticks(time_s, min(rate_hz, max_rate_hz))
        if len(chosen) < before:
            notes.append(f"long motion: {rate_hz:.0f} poses per second are shown")
    if len(chosen) > budget:
        chosen = chosen[:budget]
        seconds = time_s[chosen[-1]] - time_s[0]
        notes.append(f"only the first {seconds:.0f} s of {span_s:.0f} s are on this page")
    return chosen, tuple(notes)


def _ticks(time_s: NDArray[np.floating], rate_hz: float) -> NDArray[np.integer]:
    """The first frame of every tick of rate_hz; slower motion keeps all its frames."""
    # 0.01 keeps a frame that lies on a tick from falling before it by rounding.
    tick = np.floor((time_s - time_s[0]) * rate_hz + 0.01)
    return np.unique(tick, return_index=True)[1]


def thumbnails(
    frames: Iterable[TimedImage], time_s: NDArray[np.floating], *, most: int, width_px: int
) -> list[Thumbnail]:
    """Small images of a video for the frustum: at most 5 per second and `most` in all."""
    span_s = max(float(time_s[-1] - time_s[0]), 1e-9)
    step_s = max(1 / _THUMBNAIL_RATE_HZ, span_s / most)
    small: list[Thumbnail] = []
    for frame in frames:
        if len(small) >= most:
            break
        if small and frame.time_s < small[-1].time_s + step_s - 1e-6:
            continue
        height, width = frame.image.shape[:2]
        size = (width_px, max(round(height * width_px / width), 1))
        image = cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA)
        small.append(Thumbnail(np.asarray(image, dtype=np.uint8), frame.time_s))
    return small


@contextmanager
def quiet_server(port: int) -> Generator["viser.ViserServer", None, None]:
    """A viser server on this computer's loopback that prints nothing and is stopped at the end.

    Raises MissingExtraError.
    """
    try:
        import viser
    except ImportError as error:
        raise MissingExtraError("viser", "view") from error
    import rich

    console = rich.get_console()  # viser prints its banner here, whatever `verbose` says
    was_quiet, console.quiet = console.quiet, True
    try:
        server = viser.ViserServer(host="127.0.0.1", port=port, label="poselift", verbose=False)
        try:
            yield server
        finally:
            server.stop()
    finally:
        console.quiet = was_quiet


def legend(shown: Stage, notes: Sequence[str] = ()) -> list[tuple[str, RGB | None]]:
    """What pictures mean, line by line, with the colour of a line where it stands for one."""
    count = len(shown.people)
    seconds = float(shown.time_s[-1] - shown.time_s[0])
    lines: list[tuple[str, RGB | None]] = [
        (f"{count} {'person' if count == 1 else 'people'}, {seconds:.1f} s", None),
        ("left", SIDE_RGB["left"]),
        ("right", SIDE_RGB["right"]),
    ]
    if count > 1:
        lines += [(f"person {number + 1}", accent(number)) for number in range(min(count, 6))]
    lines.append(("metres, z up, grid 1 m", None))
    lines.append((_origin(shown), None))
    return lines + [(note, None) for note in notes]


def _origin(shown: Stage) -> str:
    if any(poses.origin == "root" for poses in shown.people):
        return "origin: root joint of each person"
    if shown.floor_m == 0.0:
        return "origin: that of the data, floor at z = 0"
    return f"origin: that of the data, floor drawn at z = {shown.floor_m:.2f} m"


def _record(server: "viser.ViserServer", figures: Scene, chosen: NDArray[np.integer]) -> str:
    serializer = server.get_scene_serializer()
    time_s = figures.stage.time_s[chosen]
    step_s = float(np.median(np.diff(time_s))) if len(time_s) > 1 else 0.0
    waits = [*np.diff(time_s).tolist(), step_s]
    for frame, wait_s in zip(chosen.tolist(), waits, strict=True):
        figures.show(frame)
        if wait_s > 0:
            serializer.insert_sleep(wait_s)
    return serializer.as_html(dark_mode=True)


def _with_legend(text: str, shown: Stage, title: str, notes: Sequence[str]) -> str:
    """The page with its title and, above the time line at the left, what it shows."""
    rows = "".join(_row(line, rgb) for line, rgb in legend(shown, notes))
    name = html.escape(title)
    box = (
        '<div id="poselift-legend" style="position:fixed;left:14px;bottom:54px;z-index:5;'
        "pointer-events:none;font:13px/1.5 system-ui,sans-serif;color:#cdd3dc;max-width:20em;"
        f'text-shadow:0 0 4px #14161a"><b style="font-size:15px">{name}</b>{rows}</div>'
    )
    text = text.replace("<title>Viser</title>", f"<title>{name}</title>", 1)
    before, end, after = text.rpartition("</body>")
    return f"{before}{box}{end}{after}" if end else text + box


def _row(line: str, rgb: RGB | None) -> str:
    dot = "" if rgb is None else f'<span style="color:rgb{rgb}">&#9679;</span> '
    return f"<div>{dot}{html.escape(line)}</div>"
