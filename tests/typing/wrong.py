"""Misspelt and mistyped options: a type checker must complain about every line that says `wrong`."""

from diffusers import DiffusionPipeline

import videosieve


def use(pipe: DiffusionPipeline) -> None:
    videosieve.sparsify(pipe, "svg", densty=0.3)  # wrong
    videosieve.sparsify(pipe, density="a third")  # wrong
    videosieve.sparsify(pipe, "svg", step=50)  # wrong
    videosieve.saliency(pipe, "a cat", ["cat"], layer=[0])  # wrong
    videosieve.saliency(pipe, "a cat", ["cat"], num_inference_step=20)  # wrong
    videosieve.inspect_attention(pipe, "a cat", head=[0])  # wrong
    videosieve.tune(pipe, ["a cat"], psnt=30.0)  # wrong
    videosieve.tune(pipe, ["a cat"], psnr=30.0, minutes="long")  # wrong
    videosieve.sparsify(pipe, "svg").trace.keep = "newest"  # wrong
