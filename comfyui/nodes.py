"""The two nodes. What they do is in `videosieve.integrations.comfyui`; here is how ComfyUI is asked."""

from typing import Any

from comfy.patcher_extension import CallbacksMP, WrappersMP
from comfy_api.latest import ComfyExtension, io

from videosieve.integrations.comfyui import SparsePatch, parse_blocks, picture_of, text_of

KEY = "videosieve"
METHODS = [
    "sieve",
    "svg",
    "xattention",
    "adaspa",
    "svg2",
    "radial",
    "sparge",
    "minference",
    "sliding_tile",
    "draft",
]


def apply_patch(model: Any, patch: SparsePatch) -> Any:
    """A clone of the model with the patch on top, told of every forward, and tidied up behind every run."""
    patched = model.clone()
    options = patched.model_options["transformer_options"]
    options[KEY] = lambda: patch  # a function: clones copy what options hold, but not what it refers to
    patch.install(options)

    def follow(executor: Any, latents: Any, *args: Any, **kwargs: Any) -> Any:
        told = kwargs.get("transformer_options")
        if told is None:
            told = next((x for x in args if isinstance(x, dict) and ("sigmas" in x or KEY in x)), {})
        patch.begin_forward(latents, executor.class_obj, told)
        return executor(latents, *args, **kwargs)

    def put_on_top(patcher: Any, timestep: Any, model_options: Any = None, *_: Any) -> None:
        del timestep
        patch.install((model_options or patcher.model_options)["transformer_options"])

    def tidy(patcher: Any, *_: Any) -> None:
        del patcher
        patch.end()

    patched.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, KEY, follow)
    patched.add_callback_with_key(CallbacksMP.ON_PREPARE_STATE, KEY, put_on_top)
    patched.add_callback_with_key(CallbacksMP.ON_CLEANUP, KEY, tidy)
    return patched


class SparseAttention(io.ComfyNode):
    """MODEL to MODEL."""

    @classmethod
    def define_schema(cls) -> Any:
        """Inputs and outputs."""
        return io.Schema(
            node_id="VideosieveSparseAttention",
            display_name="Sparse attention (videosieve)",
            category="videosieve",
            description="Computes the part of a video model's self-attention that matters; no training.",
            inputs=[
                io.Model.Input("model", tooltip="A video model, for example Wan."),
                io.Combo.Input("method", options=METHODS, default="sieve", tooltip="How blocks are chosen."),
                io.Float.Input(
                    "density", default=0.3, min=0.0, max=1.0, step=0.01,
                    tooltip="Share of query-key pairs to compute; 0 leaves it to the method.",
                ),
                io.Float.Input(
                    "start_percent", default=0.2, min=0.0, max=1.0, step=0.01,
                    tooltip="Where in the sampling sparse attention begins; dense before.",
                ),
                io.Float.Input(
                    "end_percent", default=1.0, min=0.0, max=1.0, step=0.01,
                    tooltip="Where in the sampling it ends; dense afterwards.",
                ),
                io.String.Input("dense_blocks", default="", tooltip="Blocks that stay dense: 0, 1, 47-49"),
                io.Int.Input(
                    "min_tokens", default=12288, min=0, max=1 << 20, step=512,
                    tooltip="Shorter sequences stay dense.",
                ),
                io.Combo.Input(
                    "text", options=["none", "before", "after"], default="none",
                    tooltip="Where the text stands in models with text and video in one sequence; none for Wan.",
                ),
                io.Boolean.Input("verbose", default=False, tooltip="Log why calls stay dense."),
            ],
            outputs=[io.Model.Output(display_name="model")],
        )  # fmt: skip

    @classmethod
    def execute(  # noqa: PLR0913 - one argument an input
        cls,
        model: Any,
        method: str,
        density: float,
        start_percent: float,
        end_percent: float,
        dense_blocks: str = "",
        min_tokens: int = 12288,
        text: str = "none",
        verbose: bool = False,
    ) -> Any:
        """Patch a clone."""
        sampling = model.get_model_object("model_sampling")
        first, last = (float(sampling.percent_to_sigma(percent)) for percent in (start_percent, end_percent))
        patch = SparsePatch.of(
            method, density, first, last, dense_blocks=parse_blocks(dense_blocks), min_tokens=min_tokens,
            text=text, verbose=verbose,
        )  # fmt: skip
        return io.NodeOutput(apply_patch(model, patch))


class AttentionReport(io.ComfyNode):
    """What the last run computed, as text and as a picture."""

    @classmethod
    def define_schema(cls) -> Any:
        """Inputs and outputs."""
        return io.Schema(
            node_id="VideosieveAttentionReport",
            display_name="Attention report (videosieve)",
            category="videosieve",
            description="What the run computed; the picture has a row a layer and a column a step.",
            not_idempotent=True,
            inputs=[
                io.Model.Input("model", tooltip="The model behind Sparse attention."),
                io.Latent.Input("latent", tooltip="From the sampler, so that the report comes after it."),
            ],
            outputs=[
                io.Latent.Output(display_name="latent"),
                io.String.Output(display_name="text"),
                io.Image.Output(display_name="picture"),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, **_inputs: Any) -> float:
        """Never the same: the report is about a run, not about its inputs."""
        return float("nan")

    @classmethod
    def execute(cls, model: Any, latent: Any) -> Any:
        """Read the patch that the model carries."""
        patch = model.model_options.get("transformer_options", {}).get(KEY)
        if patch is None:
            raise ValueError("this model has not been through Sparse attention (videosieve)")
        run = patch().run
        return io.NodeOutput(latent, text_of(run), picture_of(run))


class VideosieveExtension(ComfyExtension):
    """What ComfyUI asks for its nodes."""

    async def get_node_list(self) -> list[type]:
        """Both of them."""
        return [SparseAttention, AttentionReport]


async def comfy_entrypoint() -> VideosieveExtension:
    """Where ComfyUI begins."""
    return VideosieveExtension()


NODE_CLASS_MAPPINGS = {
    "VideosieveSparseAttention": SparseAttention,
    "VideosieveAttentionReport": AttentionReport,
}
NODE_DISPLAY_NAME_MAPPINGS = {
    "VideosieveSparseAttention": "Sparse attention (videosieve)",
    "VideosieveAttentionReport": "Attention report (videosieve)",
}
