"""A small, really trained text-to-video model and everything around it: renderer, captions, training."""

from videosieve.shapes.codec import ShapesCodec
from videosieve.shapes.pipeline import ShapesPipeline
from videosieve.shapes.text import ShapesTextEncoder
from videosieve.shapes.weights import bundled_models, load_shapes
from videosieve.shapes.world.captions import check_prompt, parse_caption

__all__ = [
    "ShapesCodec",
    "ShapesPipeline",
    "ShapesTextEncoder",
    "bundled_models",
    "check_prompt",
    "load_shapes",
    "parse_caption",
]
