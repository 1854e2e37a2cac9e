"""Pictures of motion: overlay on video, a drawn 3D view, an interactive page."""
