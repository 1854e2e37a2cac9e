"""Video, images or 2D keypoints of people to 3D human motion.

    people = poselift.lift("clip.mp4")            # list[Poses3D], metres, z up
    poselift.write("motion.bvh", people)

Names are resolved on first use: importing poselift loads neither torch nor onnxruntime.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from poselift.camera import Camera
    from poselift.errors import PoseliftError
    from poselift.io import read, write
    from poselift.models import load
    from poselift.pipeline import Options, lift
    from poselift.poses import Poses2D, Poses3D
    from poselift.skeleton import Skeleton, skeleton, skeletons

_HOMES = {
    "Camera": "poselift.camera",
    "Options": "poselift.pipeline",
    "Poses2D": "poselift.poses",
    "Poses3D": "poselift.poses",
    "PoseliftError": "poselift.errors",
    "Skeleton": "poselift.skeleton",
    "lift": "poselift.pipeline",
    "load": "poselift.models",
    "read": "poselift.io",
    "skeleton": "poselift.skeleton",
    "skeletons": "poselift.skeleton",
    "write": "poselift.io",
}

__all__ = [
    "Camera",
    "Options",
    "PoseliftError",
    "Poses2D",
    "Poses3D",
    "Skeleton",
    "lift",
    "load",
    "read",
    "skeleton",
    "skeletons",
    "write",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'poselift' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
