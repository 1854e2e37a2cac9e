"""Four moments of an overlay video as one picture, as README shows.

poselift lift examples/sample/sample.mp4 -o out/sample
python scripts/picture.py out/sample/overlay.mp4 docs/sample.jpg --at 0.2 1.33 2.0 3.33
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from poselift.io.video import open_frames


def moments(video: Path, times_s: list[float]) -> list[np.ndarray]:
    """The first frame at or after each time, in order."""
    wanted, found = sorted(times_s), []
    with open_frames(video) as frames:
        for frame in frames:
            while wanted and frame.time_s >= wanted[0] - 1e-3:
                found.append(frame.image)
                wanted.pop(0)
    return found


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("video", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--at", type=float, nargs=4, required=True, help="seconds")
    parser.add_argument("--width", type=int, default=1400)
    args = parser.parse_args()
    a, b, c, d = moments(args.video, args.at)
    picture = np.vstack([np.hstack([a, b]), np.hstack([c, d])])
    scale = args.width / picture.shape[1]
    picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(args.out), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])


if __name__ == "__main__":
    main()
