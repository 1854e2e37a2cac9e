"""The verb stream: 2D joints as they come, 3D poses as they are known."""

import argparse
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from poselift.cli.verbs import add_verb, complain, image_size
from poselift.errors import InputError

if TYPE_CHECKING:
    from poselift.streaming import Pose, Stream

# What a line may hold: in words, and as types.
_FIELDS: dict[str, tuple[str, Any]] = {
    "time_s": ("seconds", (int, float)),
    "xy_px": ("a list of pairs of numbers, or null", list),
    "confidence": ("a list of numbers", (list, type(None))),
    "person": ("a whole number", int),
}


def add_all(verbs: Any) -> None:
    """Add this verb to a parser."""
    parser = add_verb(
        verbs,
        "stream",
        _stream,
        "live 3D poses: 2D joints as lines of JSON in, poses as lines of JSON out",
        "example:\n"
        "  detector | poselift stream --size 1280x720 --layout coco17 > poses.jsonl\n\n"
        'A line in: {"time_s": 0.033, "xy_px": [[412.5, 88.1], null, ...]}, a pair or null for\n'
        'each joint of the layout; also "confidence": [0.9, 0, ...] and "person": 0, a number\n'
        "that each person keeps.\n"
        'A line out: {"time_s", "person", "xyz_m", "uncertainty_m", "root_m"}: 28 joints (body28)\n'
        "from the pelvis in camera axes, one standard deviation per joint and axis (null for the\n"
        "pelvis), and the pelvis from the camera, null where it cannot be told; metres.\n\n"
        "Poses come --delay frames late, those of the last frames when the input ends. A line\n"
        "that cannot be used is named on stderr and left out; then the verb ends with 1.\n"
        "Delays, gaps, axes: docs/streaming.md.",
    )
    parser.add_argument("--size", type=image_size, required=True, metavar="WxH", help="image size")
    parser.add_argument("--layout", default="coco17", help="skeleton of the joints (coco17)")
    parser.add_argument("--delay", type=int, default=2, help="frames: 0, 2 (default), 4 or 8")
    parser.add_argument("--model", default="river", help="a lifter that streams, or its weights")
    parser.add_argument("--fov", type=float, metavar="DEG", help="horizontal field of view")
    parser.add_argument("--height", type=float, metavar="M", help="how tall the person is")
    parser.add_argument(
        "--no-flip", dest="flip", action="store_false", help="quicker, a little less exact"
    )
    parser.add_argument("--strict", action="store_true", help="end at the first bad line")


def _stream(args: argparse.Namespace) -> int:
    people = _People(args)
    failed = 0
    for number, line in enumerate(sys.stdin, start=1):
        if not line.strip():
            continue
        try:
            pose = people.take(line)
        except InputError as error:
            complain(InputError(f"line {number}: {error}"), args.debug)
            failed += 1
            if args.strict:
                break
            continue
        if pose is not None:
            _tell(pose)
    for pose in people.rest():
        _tell(pose)
    return 1 if failed else 0


class _People:
    """A stream for each person of the input."""

    def __init__(self, args: argparse.Namespace) -> None:
        from poselift.camera import Camera

        camera = Camera.from_field_of_view(args.size, args.fov) if args.fov is not None else None
        self._options = {
            "size_px": args.size,
            "camera": camera,
            "skeleton": args.layout,
            "delay": args.delay,
            "height_m": args.height,
            "flip": args.flip,
        }
        self._lifter = args.model
        self._streams: dict[int, Stream] = {}
        self._made(0)  # what is wrong with the options shows before the first line

    def _made(self, person: int) -> "Stream":
        from poselift.streaming import stream

        if person not in self._streams:
            self._streams[person] = stream(self._lifter, person=person, **self._options)
        return self._streams[person]

    def take(self, line: str) -> "Pose | None":
        """The pose that is known with a line. Raises InputError."""
        frame = _parsed(line)
        rows = [[None, None] if pair is None else pair for pair in frame["xy_px"]]
        sure = frame.get("confidence")
        if sure is not None:
            sure = _numbers("confidence", [0.0 if value is None else value for value in sure])
        person = self._made(frame.get("person", 0))
        return person(_numbers("xy_px", rows), frame["time_s"], sure)

    def rest(self) -> "Iterator[Pose]":
        """The poses that were still to come."""
        for each in self._streams.values():
            yield from each.flush()


def _parsed(line: str) -> dict[str, Any]:
    """The fields of a line, of the types that they must have. Raises InputError."""
    try:
        frame = json.loads(line)
    except ValueError as error:
        raise InputError("frame", expected="an object in JSON", found=error) from error
    if not isinstance(frame, dict) or {"time_s", "xy_px"} - frame.keys():
        found = line.strip()[:60]
        raise InputError("frame", expected="an object with time_s and xy_px", found=found)
    for name, value in frame.items():
        if name not in _FIELDS:
            raise InputError("field of a frame", found=repr(name), known=_FIELDS)
        what, kind = _FIELDS[name]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise InputError(name, expected=what, found=json.dumps(value)[:60])
    return frame


def _numbers(name: str, rows: list[Any]) -> Any:
    """Rows as an array, NaN for null. Raises InputError."""
    import numpy as np

    try:
        return np.array(rows, dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise InputError(name, expected=_FIELDS[name][0], found=error) from error


def _tell(pose: "Pose") -> None:
    """One line; to a tenth of a millimetre."""
    sd = [round(sd, 4) if sd > 0 else None for sd in pose.uncertainty_m.tolist()]
    root = pose.root_m.round(4).tolist()
    answer = {
        "time_s": pose.time_s,
        "person": pose.person,
        "xyz_m": pose.xyz_m.round(4).tolist(),
        "uncertainty_m": sd,
        "root_m": root if pose.root_m[2] > 0 else None,
    }
    print(json.dumps(answer, allow_nan=False), flush=True)
