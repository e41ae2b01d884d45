"""Make a transformer of your own sparse: one row says where its self-attentions and its tokens are.

python examples/add_a_model.py
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import videosieve
from videosieve.integrations.diffusers import ModelRow, Text


class Processor:
    """What computes attention; its call to F.scaled_dot_product_attention is what videosieve takes over."""

    def __call__(self, attn: "SelfAttention", rows: Tensor) -> Tensor:
        q, k, v = (
            to(rows).unflatten(2, (attn.heads, -1)).transpose(1, 2)
            for to in (attn.to_q, attn.to_k, attn.to_v)
        )
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


class SelfAttention(nn.Module):
    """Projections, and a processor as diffusers' attention modules have one."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width) for _ in range(3))
        self.processor = Processor()

    def forward(self, rows: Tensor) -> Tensor:
        return self.processor(self, rows)


class PocketTransformer(nn.Module):
    """Latents [batch, channels, frames, rows, columns] and text rows in one sequence, the text first."""

    def __init__(self, channels: int = 8, width: int = 64, heads: int = 2, layers: int = 2) -> None:
        super().__init__()
        self.config = {"patch_size": 2}
        self.embed = nn.Conv3d(channels, width, (1, 2, 2), (1, 2, 2))
        self.layers = nn.ModuleList(SelfAttention(width, heads) for _ in range(layers))

    def forward(self, hidden_states: Tensor, timestep: Tensor, encoder_hidden_states: Tensor) -> Tensor:
        rows = self.embed(hidden_states).flatten(2).transpose(1, 2)
        rows = torch.cat([encoder_hidden_states, rows], dim=1) * (1 + timestep[:, None, None] / 1000)
        for layer in self.layers:
            rows = rows + layer(rows)
        return rows[:, encoder_hidden_states.shape[1] :]


videosieve.register_model(
    ModelRow(
        name="PocketTransformer",
        family="Pocket",
        attentions=r"layers\.\d+",
        axes="BCTHW",
        patch=(1, "patch_size", "patch_size"),
        text="first",
        texts=(Text(),),
        branches=("cond",),
        notes="an example",
    )
)

if __name__ == "__main__":
    model = PocketTransformer()
    latents, text = torch.randn(1, 8, 8, 32, 32), torch.randn(1, 7, 64)
    with torch.no_grad(), videosieve.sparsify(model, "svg", density=0.3, steps=4, dense_steps=1) as run:
        for time in (1000.0, 750.0, 500.0, 250.0):
            model(latents, torch.tensor([time]), text)
    print(run.summary())
