"""Pack detections on rendered test clips and their truth into the track that ships.

    python scripts/pack_rendered.py CLIPS

CLIPS was written by render_set.py and detect_set.py. Writes src/poselift/train/rendered-v1.npz and
prints its SHA-256; docs/noise.md says what each array is.
"""

import argparse
import hashlib
import sys
from pathlib import Path

import numpy as np
from render_sample import LICENCE

from poselift.errors import InputError, PoseliftError
from poselift.io.files import atomic

TRACK = Path("src/poselift/train/rendered-v1.npz")
STEP_M, STEP_PX = 2.0**-14, 2.0**-6  # rounded to 0.06 mm and 0.016 pixels, which packs better
DETECTIONS = ("hybrid", "movenet")
PER_FRAME = (
    *("time_s", "joints_m", "surface_px", "hidden", "blazepose_m"),
    *(f"{name}_{what}" for name in DETECTIONS for what in ("px", "confidence")),
)


def stepped(array: np.ndarray, step: float) -> np.ndarray:
    """Single precision, rounded to multiples of a step."""
    return (np.round(array / step) * step).astype(np.float32)


def pack(folder: Path) -> dict[str, np.ndarray]:
    """All arrays of the track. Raises InputError for a clip without detections."""
    columns: dict[str, list[np.ndarray]] = {}
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as truth:
            if str(truth["split"]) != "test":
                continue
            found = folder / "detections" / path.name
            if not found.exists():
                raise InputError(f"detections of {path.stem}", expected="a file", found="none")
            with np.load(found) as seen:
                clip = {
                    "name": np.array(path.stem),
                    "action": truth["action"],
                    "age_years": truth["age_years"],
                    "female": truth["female"],
                    "size_px": truth["size_px"],
                    "K": truth["K"],
                    "time_s": truth["time_s"],
                    "joints_m": stepped(truth["joints_m"], STEP_M),
                    "surface_px": stepped(truth["surface_px"], STEP_PX),
                    "hidden": truth["hidden"],
                }
                for detector in DETECTIONS:
                    clip[f"{detector}_px"] = stepped(seen[f"{detector}_px"], STEP_PX)
                    clip[f"{detector}_confidence"] = stepped(seen[f"{detector}_confidence"], STEP_M)
                clip["blazepose_m"] = stepped(seen["hybrid_xyz_m"], STEP_M)
        for name, value in clip.items():
            columns.setdefault(name, []).append(value)
    if not columns:
        raise InputError(str(folder), expected="rendered clips of test subjects", found="none")
    frames = [len(time) for time in columns["time_s"]]
    arrays = {
        name: np.stack([padded(v, max(frames), name) for v in values])
        for name, values in columns.items()
    }
    return arrays | {"frames": np.array(frames)}


def padded(array: np.ndarray, frames: int, name: str) -> np.ndarray:
    """A clip's array with as many frames as the longest has: NaN, and no confidence, at the end."""
    if name not in PER_FRAME:
        return array
    fill = np.nan if name.endswith(("_m", "_px", "time_s")) else 0
    rest = np.full((frames - len(array), *array.shape[1:]), fill, dtype=array.dtype)
    return np.concatenate([array, rest])


def main() -> None:
    """Write the track."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", type=Path, help="folder of render_set.py with detections")
    arrays = pack(parser.parse_args().clips)
    with atomic(TRACK) as part:
        np.savez_compressed(part, licence=np.array(LICENCE), **arrays)
    digest = hashlib.sha256(TRACK.read_bytes()).hexdigest()
    clips, frames = arrays["joints_m"].shape[:2]
    print(
        f"{TRACK}: {clips} clips of {frames} frames, {TRACK.stat().st_size / 1e6:.2f} MB, {digest}"
    )


if __name__ == "__main__":
    try:
        main()
    except PoseliftError as error:
        sys.exit(f"pack_rendered: {error}")
