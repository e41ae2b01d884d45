"""What can be done with maps: sizes, masks, pictures, files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from videosieve.concepts import SaliencyMaps
from videosieve.concepts.maps import COLOURS
from videosieve.errors import OutputError, ShapeError


def make(video_frames=5, **changes):
    scores = torch.randn(3, 2, 2, 3, generator=torch.Generator().manual_seed(0))
    video = torch.rand(video_frames, 3, 8, 12, generator=torch.Generator().manual_seed(1))
    facts = {
        "concepts": ("cat", "red dog", "sky"),
        "maps": scores.softmax(0),
        "method": "concept",
        "layers": (1, 2),
        "steps": (3,),
        "video": video,
        "frame_of": (0, 1, 1, 1, 1),
    }
    return SaliencyMaps(**(facts | changes))


def test_upsampling_repeats_token_frames_and_keeps_the_sum():
    large = make().upsample()
    assert large.shape == (3, 5, 8, 12)
    torch.testing.assert_close(large.sum(0), torch.ones(5, 8, 12))
    assert torch.equal(large[:, 1], large[:, 4])
    assert not torch.equal(large[:, 0], large[:, 1])
    flat = make(maps=torch.full((3, 2, 2, 3), 1 / 3)).upsample(16, 9)
    torch.testing.assert_close(flat, torch.full((3, 5, 16, 9), 1 / 3))


def test_masks_by_the_three_rules():
    saliency = make()
    winners = saliency.masks()
    assert torch.equal(winners.sum(0), torch.ones(2, 2, 3, dtype=torch.long))
    assert torch.equal(winners[1], saliency.maps.argmax(0) == 1)
    assert torch.equal(saliency.masks(0.5), saliency.maps > 0.5)
    assert torch.equal(saliency.masks("mean")[2], saliency.maps[2] > saliency.maps[2].mean())
    for bad in (1.5, True, "most"):
        with pytest.raises(ShapeError, match="threshold must be"):
            saliency.masks(bad)


def test_an_overlay_paints_a_concept_where_it_is():
    maps = torch.zeros(2, 1, 2, 2)
    maps[0, 0, 0, 0] = 1
    maps[1] = 1 - maps[0]
    saliency = make(concepts=("cat", "sky"), maps=maps, frame_of=(0,), video=torch.full((1, 3, 2, 2), 0.5))
    heat, mixed = saliency.overlay(concept="cat", strength=1.0), saliency.overlay(strength=1.0)
    assert heat[0, :, 0, 0].sum() > heat[0, :, 1, 1].sum() + 1
    torch.testing.assert_close(mixed[0, :, 0, 0], torch.tensor(COLOURS[0]))
    torch.testing.assert_close(mixed[0, :, 1, 1], torch.tensor(COLOURS[1]))
    assert torch.equal(saliency.overlay(strength=0.0), saliency.video)
    for picture in (make().overlay(), make().overlay(concept="sky")):
        assert picture.shape == (5, 3, 8, 12)
        assert picture.min() >= 0
        assert picture.max() <= 1


def test_a_saved_file_comes_back_whole(tmp_path):
    saliency = make(parts={(1,): torch.ones(3, 2, 2, 3), (12, 3): torch.zeros(3, 2, 2, 3)})
    back = SaliencyMaps.load(saliency.save(tmp_path / "cat.safetensors"))
    assert (back.concepts, back.layers, back.steps, back.method) == (
        ("cat", "red dog", "sky"),
        (1, 2),
        (3,),
        "concept",
    )
    assert back.frame_of == saliency.frame_of
    assert torch.equal(back.maps, saliency.maps)
    assert torch.equal(back.video, saliency.video)
    assert torch.equal(back.parts[12, 3], saliency.parts[12, 3])
    assert [file.name for file in tmp_path.iterdir()] == ["cat.safetensors"]


def test_pictures_are_the_overlay(tmp_path):
    saliency = make()
    with Image.open(saliency.save(tmp_path / "all.png")) as picture:
        sheet = torch.from_numpy(np.array(picture)).float() / 255
    assert sheet.shape == (128, 5 * 192, 3)  # five frames of 8 x 12 pixels, enlarged 16 times
    expected = saliency.overlay()[1].permute(1, 2, 0)
    assert (sheet[8::16, 200:384:16] - expected).abs().max() < 0.003
    saliency.save(tmp_path / "cat.png", concept="cat")
    assert (tmp_path / "cat.png").read_bytes() != (tmp_path / "all.png").read_bytes()
    film = saliency.save(tmp_path / "cat.mp4", concept="cat", fps=4)
    assert b"ftyp" in film.read_bytes()[:16]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["all.png", "cat.mp4", "cat.png"]
    with pytest.raises(OutputError, match="fps must lie"):
        saliency.save(tmp_path / "cat.mp4", fps=0)
    with pytest.raises(ShapeError, match="overlay needs frames"):
        make(video=None).save(tmp_path / "none.png")


def test_bad_files_concepts_and_frames_say_so(tmp_path):
    saliency = make()
    with pytest.raises(OutputError, match=r"written as \.safetensors"):
        saliency.save(tmp_path / "cat.npz")
    with pytest.raises(OutputError, match="cannot write"):
        saliency.save(tmp_path / "missing" / "cat.safetensors")
    (tmp_path / "other.safetensors").write_bytes(b"nonsense")
    with pytest.raises(OutputError, match="holds no saliency maps"):
        SaliencyMaps.load(tmp_path / "other.safetensors")
    with pytest.raises(ShapeError, match="no map of 'fish'; there are cat, red dog, sky"):
        saliency.of("fish")
    with pytest.raises(ShapeError, match="cover 5 video frames, got 4"):
        saliency.overlay(saliency.video[:4])
    with pytest.raises(ShapeError, match="give height and width"):
        make(video=None).upsample()


def test_raw_maps_have_a_softmax_of_their_own_and_no_threshold(tmp_path: Path):
    scores = 50 * torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    raw = SaliencyMaps(("a", "b", "c"), scores, "concept", (0,), (0,), video=torch.rand(2, 3, 8, 8), raw=True)
    torch.testing.assert_close(raw.probabilities(7.0), (scores / 7).softmax(0))
    assert torch.equal(raw.masks(), torch.stack([scores.argmax(0) == index for index in range(3)]))
    assert torch.equal(raw.masks("mean"), scores > scores.mean((1, 2, 3), keepdim=True))
    with pytest.raises(ShapeError, match="raw scores have no threshold"):
        raw.masks(0.5)
    with pytest.raises(ShapeError, match="temperature"):
        raw.probabilities(0.0)
    painted = raw.overlay()
    assert 0 <= float(painted.min()) <= float(painted.max()) <= 1
    assert SaliencyMaps.load(raw.save(tmp_path / "m.safetensors")).raw
