"""Where blocks lie in a video: bands, tiles, curves, and the shapes that heads have."""
