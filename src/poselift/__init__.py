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
    from poselift.skeleton import Skeleton, skeletons
    from poselift.skeleton import skeleton as skeleton_named
    from poselift.streaming import stream

# Where each name lives, module:attribute. No name may be that of a module in this folder: Python
# sets it to the module as soon as anything imports that (hence `skeleton_named`).
_HOMES = {
    "Camera": "poselift.camera:Camera",
    "Options": "poselift.pipeline:Options",
    "PoseliftError": "poselift.errors:PoseliftError",
    "Poses2D": "poselift.poses:Poses2D",
    "Poses3D": "poselift.poses:Poses3D",
    "Skeleton": "poselift.skeleton:Skeleton",
    "lift": "poselift.pipeline:lift",
    "load": "poselift.models:load",
    "read": "poselift.io:read",
    "skeleton_named": "poselift.skeleton:skeleton",
    "skeletons": "poselift.skeleton:skeletons",
    "stream": "poselift.streaming:stream",
    "write": "poselift.io:write",
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
    "skeleton_named",
    "skeletons",
    "stream",
    "write",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'poselift' has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
