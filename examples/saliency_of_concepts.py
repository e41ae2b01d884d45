"""Find concepts in a video while it is generated; the video is the same as without.

python examples/saliency_of_concepts.py
"""

import torch

import videosieve
from videosieve.shapes import load_shapes

pipe = load_shapes("shapes-s")  # HunyuanVideo and CogVideoX pipelines work the same way
found = videosieve.saliency(
    pipe,
    "a large red circle moves left over a striped background",
    [
        "red circle",
        "striped background",
    ],  # need not be in the prompt; maps are relative, so name a background too
    num_inference_steps=8,
    generator=torch.Generator().manual_seed(0),
)

print(f"maps of {tuple(found.maps.shape)}: concepts, frames, height, width")
for concept, mask in zip(found.concepts, found.masks(), strict=True):
    print(f"{concept}: wins {mask.float().mean():.0%} of the video")
print(f"overlay of {len(found.overlay())} frames")
