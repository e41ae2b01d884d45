"""Attention maps small enough to look at, of sequences of any length. Plain tensors, no model."""

from videosieve.inspection.kept import KeptRows, name_order
from videosieve.inspection.measures import MEASURES, measure_heads, uniform_measures
from videosieve.inspection.plan import Patches, Plan, decode_ratios, encode_ratios
from videosieve.inspection.reading import Inspection, Reading, Spot
from videosieve.inspection.view import HeadView, view_head

__all__ = [
    "MEASURES",
    "HeadView",
    "Inspection",
    "KeptRows",
    "Patches",
    "Plan",
    "Reading",
    "Spot",
    "decode_ratios",
    "encode_ratios",
    "measure_heads",
    "name_order",
    "uniform_measures",
    "view_head",
]
