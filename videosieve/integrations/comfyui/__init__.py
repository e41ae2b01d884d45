"""Sparse attention inside ComfyUI: what its node package (the folder `comfyui/`) does, without an import of ComfyUI.

`SparsePatch` is one application of the node to one model; `text_of` and `picture_of` say what its last run computed.
"""

from videosieve.integrations.comfyui.patch import SparsePatch, parse_blocks
from videosieve.integrations.comfyui.report import picture_of, text_of

__all__ = ["SparsePatch", "parse_blocks", "picture_of", "text_of"]
