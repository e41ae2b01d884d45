"""Make any supported diffusers video pipeline sparse with one line.

python examples/sparsify_a_pipeline.py
"""

import torch

import videosieve
from videosieve.shapes import load_shapes

pipe = load_shapes("shapes-s")  # any pipeline that `videosieve models` lists works the same way
prompt = "a large red circle moves left over a striped background"

with videosieve.sparsify(pipe, "svg", density=0.3) as run:
    video = pipe(prompt, generator=torch.Generator().manual_seed(0), output_type="pt").frames[0]

print(f"{len(video)} frames of {video.shape[-2]} × {video.shape[-1]} pixels")
print(run.summary())
