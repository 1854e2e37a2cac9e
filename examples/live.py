"""Live 3D from a video, frame by frame: detect, lift, say where the person is.

    python examples/live.py [VIDEO] [--delay 0|2|4|8]

A camera is no different: whatever gives an image and its time can stand where `open_frames` does.
One person is followed, the one that the detector is most sure of; for several, use a stream each
(`poselift.track` tells people apart).
"""

import argparse
from pathlib import Path

import numpy as np

import poselift
from poselift.detect import make_detector
from poselift.io.video import open_frames

SAMPLE = Path(__file__).parent / "sample" / "sample.mp4"


def tell(pose) -> None:
    wrist = pose.skeleton.index("right_wrist")
    x, y, z = pose.root_m
    print(
        f"{pose.time_s:6.2f} s: pelvis {x:+.2f} right, {y:+.2f} down, {z:.2f} m away; "
        f"right wrist known to {100 * pose.uncertainty_m[wrist]:.0f} cm"
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("video", nargs="?", type=Path, default=SAMPLE)
    parser.add_argument("--delay", type=int, default=2, help="frames that poses come late")
    parser.add_argument("--end", type=float, help="last second to read")
    args = parser.parse_args(arguments)
    detector = make_detector("hybrid", mode="fast")
    joints = len(detector.skeleton)
    with open_frames(args.video, end_s=args.end) as frames:
        live = poselift.stream(
            delay=args.delay, size_px=frames.size_px, skeleton=detector.skeleton.name
        )
        for frame in frames:
            people = detector(frame.image)
            if people:
                best = max(people, key=lambda person: person.score)
                pose = live(best.xy_px, frame.time_s, best.confidence)
            else:
                pose = live(np.full((joints, 2), np.nan), frame.time_s)
            if pose is not None:
                tell(pose)
    for pose in live.flush():
        tell(pose)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
