"""Claims about forwards with more than one arrangement: a call per batch item, and layers with other sequences."""

from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from conftest import SPARSE  # type: ignore[import-not-found]
from torch import nn

from videosieve.integrations.diffusers import MODELS, ModelRow, sparsify
from videosieve.integrations.diffusers.models.arrangements import Arrangement
from videosieve.integrations.diffusers.models.sequences import Sequence
from videosieve.layout import VideoLayout

TEXT = (2, 5)


class Layouts(Sequence):
    """The first layer attends once per item, with its own text; the second to the video and once more to it."""

    def reads(self):
        return [self.arguments["lengths"]]

    def arrange(self, values):
        lengths = [int(length) for length in values[0]]
        texts = [VideoLayout.of(3, 4, 6, text_last=length) for length in lengths]
        return (
            Arrangement.one_by_one(texts, layers=r"layers\.0"),
            Arrangement.of(VideoLayout.of(6, 4, 6), layers=r"layers\.1"),
        )


class Attention(nn.Module):
    """Heads of 8 channels, and a processor that attends item by item where it is told to."""

    class Processor:
        """One call per item, as Mochi's."""

        def __call__(self, attn, rows, lengths):
            q, k, v = (
                to(rows).unflatten(2, (2, 8)).transpose(1, 2) for to in (attn.to_q, attn.to_k, attn.to_v)
            )
            if lengths is None:
                return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
            out = torch.zeros_like(q)
            for item, length in enumerate(lengths.tolist()):
                valid = 72 + int(length)
                one = (x[item : item + 1, :, :valid] for x in (q, k, v))
                out[item : item + 1, :, :valid] = F.scaled_dot_product_attention(*one)
            return out.transpose(1, 2).flatten(2)

    def __init__(self):
        super().__init__()
        self.heads = 2
        self.to_q, self.to_k, self.to_v = (nn.Linear(16, 16) for _ in range(3))
        self.processor = self.Processor()


class Odd(nn.Module):
    """Two layers, each with sequences of its own."""

    config: ClassVar = {}

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList(Attention() for _ in range(2))

    def forward(self, hidden_states, timestep, text, lengths):
        video = hidden_states.flatten(2).transpose(1, 2)
        first, second = self.layers
        joined = first.processor(first, torch.cat([video, text], dim=1), lengths)
        video = joined[:, :72]
        return second.processor(second, torch.cat([video, video], dim=1), None)


@pytest.fixture
def odd(monkeypatch):
    row = ModelRow("Odd", "Odd", r"layers\.\d+", "BCTHW", (1, 1, 1), "none", ("cond",), "", sequence=Layouts)
    monkeypatch.setitem(MODELS, "Odd", row)
    return Odd().double().eval()


def arguments():
    generator = torch.Generator().manual_seed(0)
    return {
        "hidden_states": torch.randn(2, 16, 3, 4, 6, generator=generator, dtype=torch.float64),
        "timestep": torch.zeros(2),
        "text": torch.randn(2, 9, 16, generator=generator, dtype=torch.float64),
        "lengths": torch.tensor(TEXT),
    }


@torch.no_grad()
def test_every_call_has_the_layout_of_its_layer_and_item(odd):
    calls = []
    with sparsify(odd, "svg", **SPARSE) as run:
        attend = run.attend
        run.attend = lambda call, owner="": (calls.append(call), attend(call, owner))[1]
        for _ in range(2):  # calls are counted from 0 again
            odd(**arguments())
    seen = [(call.site.layer, call.site.items, call.layout, call.batch) for call in calls]
    assert seen == 2 * [
        (0, (0,), VideoLayout.of(3, 4, 6, text_last=2), 1),
        (0, (1,), VideoLayout.of(3, 4, 6, text_last=5), 1),
        (1, (), VideoLayout.of(6, 4, 6), 2),
    ]
    assert {record.action for record in run.trace.records} == {"sparse"}


@torch.no_grad()
def test_dense_through_the_seam_is_the_untouched_model(odd):
    untouched = odd(**arguments())
    with sparsify(odd, "dense"):
        through = odd(**arguments())
    # fp64 rounds a sum of 144 products of order 1 to about 1e-14; a wrong row is of order 0.1
    torch.testing.assert_close(through, untouched, rtol=0, atol=1e-11)


@torch.no_grad()
def test_stored_outputs_count_the_pairs_of_all_items(odd):
    window = {"reuse_range": 2, "reuse_start": 0.0, "reuse_stop": 1.0, "min_tokens": 0, "steps": 2}
    with sparsify(odd, "dense", **window) as run:
        odd(**arguments())
        odd(**{**arguments(), "timestep": torch.full((2,), -1.0)})
    reused = [record.pairs for record in run.trace.records if record.action == "reuse"]
    assert reused == [2 * (74**2 + 77**2), 2 * 2 * 144**2]


@torch.no_grad()
def test_what_no_arrangement_describes_stays_dense_with_the_reason(odd):
    wrong = {**arguments(), "lengths": torch.tensor((2, 5))}

    class Fewer(Layouts):
        def arrange(self, values):
            one, two = super().arrange(values)
            return (Arrangement(one.groups[:1], one.tokens, per_item=True, layers=one.layers), two)

    MODELS["Odd"] = ModelRow(
        "Odd", "Odd", r"layers\.\d+", "BCTHW", (1, 1, 1), "none", ("cond",), "", sequence=Fewer
    )
    with sparsify(odd, "svg", **SPARSE) as run:
        odd(**wrong)
    assert run.summary().dense_reasons == {"call 1 of the layer, which no layout describes": 1}


@torch.no_grad()
def test_a_sequence_may_say_why_a_forward_stays_dense(odd):
    class Never(Layouts):
        def arrange(self, values):
            return "tiles of a video"

    MODELS["Odd"] = ModelRow(
        "Odd", "Odd", r"layers\.\d+", "BCTHW", (1, 1, 1), "none", ("cond",), "", sequence=Never
    )
    with sparsify(odd, "svg", **SPARSE) as run:
        odd(**arguments())
        run.warns = False
    assert run.summary().dense_reasons == {"tiles of a video": 3}
    assert run.warnings() == ["nothing was sparse: tiles of a video"]
