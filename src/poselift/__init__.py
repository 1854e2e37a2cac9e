"""Video, images or 2D keypoints of people to 3D human motion."""

__version__ = "0.1.0"
