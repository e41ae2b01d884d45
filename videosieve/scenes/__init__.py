"""Pictures and clips with masks: read them, look for their concepts, score the maps, and ablate layers and noise."""

from videosieve.scenes.ablation import Ablation, Finding, ablate
from videosieve.scenes.layout import Scene, SceneFile, read_scenes, write_scene
from videosieve.scenes.looking import Report, score_scenes
from videosieve.scenes.rendered import rendered_scenes
from videosieve.scenes.score import Score, score_maps

__all__ = [
    "Ablation",
    "Finding",
    "Report",
    "Scene",
    "SceneFile",
    "Score",
    "ablate",
    "read_scenes",
    "rendered_scenes",
    "score_maps",
    "score_scenes",
    "write_scene",
]
