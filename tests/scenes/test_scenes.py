"""Pictures and clips with masks: the layout, the figures, and what a model scores on them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from videosieve.cli import app
from videosieve.concepts import SaliencyMethod
from videosieve.errors import ModelError, PromptError, ShapeError
from videosieve.scenes import (
    Scene,
    Score,
    ablate,
    read_scenes,
    rendered_scenes,
    score_maps,
    score_scenes,
    write_scene,
)
from videosieve.scenes.layout import read_index
from videosieve.scenes.looking import fit_scene, look_at, score_found
from videosieve.scenes.rendered import FIRST_SEED
from videosieve.scenes.score import FIGURES, intervals
from videosieve.testing.models.pipelines.images import IMAGE_CASES

SIDE = 16  # pixels of the nano model's clips


@pytest.fixture(scope="module")
def clips() -> list[Scene]:
    return list(rendered_scenes(3, SIDE))


@pytest.fixture(scope="module")
def folder(clips: list[Scene], tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("scenes")
    for scene in clips[:2]:
        write_scene(made, scene)
    return made


def test_clips_come_back_from_the_layout_as_they_went(clips: list[Scene], folder: Path):
    for written, read in zip(clips, read_scenes(folder), strict=False):
        assert (read.name, read.prompt, read.concepts) == (written.name, written.prompt, written.concepts)
        torch.testing.assert_close(read.video, written.video, atol=0.51 / 255, rtol=0)
        assert torch.equal(read.truth, written.truth)


def picture_folder(tmp_path: Path, **changes: Any) -> Path:
    """One picture of 8 × 6 pixels whose left half is a cat; its first row is a dog too, which comes second."""
    Image.fromarray(np.full((6, 8, 3), 128, np.uint8)).save(tmp_path / "picture.png")
    cat, dog = np.zeros((6, 8), np.uint8), np.zeros((6, 8), np.uint8)
    cat[:, :4] = dog[0] = 255
    Image.fromarray(cat).save(tmp_path / "cat.png")
    Image.fromarray(dog).save(tmp_path / "dog.png")
    Image.fromarray(cat[:4]).save(tmp_path / "low.png")
    line = {
        "file": "picture.png",
        "masks": {"cat": "cat.png", "dog": "dog.png"},
        "others": ["tree"],
        **changes,
    }
    (tmp_path / "scenes.jsonl").write_text(json.dumps(line) + "\n\n")
    return tmp_path


def test_a_picture_has_the_first_mask_where_two_overlap_and_the_rest_elsewhere(tmp_path: Path):
    (scene,) = read_scenes(picture_folder(tmp_path, rest="wall"))
    assert scene.concepts == ("cat", "dog", "wall", "tree")
    assert scene.video.shape == (1, 3, 6, 8)
    assert torch.equal(scene.truth.sum(0), torch.ones(1, 6, 8, dtype=torch.long))
    assert [int(one.sum()) for one in scene.truth] == [24, 4, 20]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"masks": {"cat": "low.png"}}, ShapeError, "'picture.png' has 8 × 6 pixels, its mask .* has 8 × 4"),
        ({"masks": {}}, ModelError, "line 1: masks must name at least one concept"),
        ({"masks": {"cat": "none.png"}}, ModelError, "line 1: 'none.png' is not in"),
        ({"file": "none.png"}, ModelError, "line 1: 'none.png' is not in"),
        ({"rest": "cat"}, PromptError, "'cat' came up again"),
        ({"others": "tree"}, ModelError, "line 1 is no SceneFile: others"),
        ({"mask": "cat.png"}, ModelError, "it has 'mask'"),
    ],
)
def test_bad_lines_say_where_and_why(changes: dict[str, Any], error: Any, message: str, tmp_path: Path):
    with pytest.raises(error, match=message):
        list(read_scenes(picture_folder(tmp_path, **changes)))


def test_a_clip_needs_as_many_masks_as_frames(folder: Path, tmp_path: Path):
    line = read_index(folder)[0]
    name, path = next(iter(line.masks.items()))
    short = tmp_path / "short"
    short.mkdir()
    for file in sorted((folder / path).iterdir())[:3]:
        (short / file.name).write_bytes(file.read_bytes())
    (tmp_path / "clip").symlink_to(folder / line.file)
    (tmp_path / "scenes.jsonl").write_text(json.dumps({"file": "clip", "masks": {name: "short"}}))
    with pytest.raises(ShapeError, match="'clip' has 16 frames, its mask .* has 3"):
        list(read_scenes(tmp_path))
    (tmp_path / "scenes.jsonl").write_text("")
    with pytest.raises(ModelError, match="has no line"):
        read_index(tmp_path)


def test_figures_by_hand():
    """Four pixels, two of an object: the map finds one of them and one that is none."""
    truth = torch.tensor([[1, 1, 0, 0]], dtype=torch.bool).view(1, 1, 2, 2)
    truth = torch.cat([truth, ~truth])
    own = torch.tensor([0.9, 0.1, 0.8, 0.2]).view(1, 1, 2, 2)
    found = score_maps(torch.cat([own, 1 - own]), truth).figures()
    assert found["pixel_accuracy"] == 0.5
    assert found["object_iou"] == pytest.approx(1 / 3)
    assert found["miou"] == pytest.approx(1 / 3)  # both IoUs are a third
    assert found["map"] == pytest.approx((1 + 2 / 4) / 2)  # right at places 1 and 4
    assert found["authors_accuracy"] == 0.5  # the mean is 0.5, so that the winners are the same here
    assert found["authors_miou"] == pytest.approx(0.5 / (2 - 0.5))
    own = torch.tensor([0.9, 0.6, 0.8, 0.1]).view(1, 1, 2, 2)
    found = score_maps(torch.cat([own, 1 - own]), truth).figures()
    # map and 1 − map, each stretched to [0, 1], from the top: two right, a wrong one, right, wrong, right, two wrong
    assert found["authors_map"] == pytest.approx((2 / 2 + 2 / 2 + 3 / 4 + 4 / 6) / 4)


def test_perfect_maps_score_one_and_others_win_for_the_rest(clips: list[Scene]):
    truth = clips[0].truth
    perfect = truth.float()
    assert all(value == pytest.approx(1) for value in score_maps(perfect, truth).figures().values())
    rest = len(truth) - 1
    other = torch.cat([perfect, 2 * perfect[rest:]])  # an additional concept beats the rest wherever that is
    assert score_maps(other, truth).figures()["pixel_accuracy"] == 1
    wrong = torch.cat([perfect, torch.full_like(perfect[:1], 2.0)])
    assert score_maps(wrong, truth).figures()["object_iou"] == 0


def test_the_authors_figure_is_no_second_measurement(clips: list[Scene]):
    generator = torch.Generator().manual_seed(0)
    for scene in clips:
        figures = score_maps(torch.rand(scene.truth.shape, generator=generator), scene.truth).figures()
        accuracy = figures["authors_accuracy"]
        assert figures["authors_miou"] == pytest.approx(accuracy / (2 - accuracy))


def test_intervals_hold_the_figure_and_shrink_where_scenes_agree(clips: list[Scene]):
    generator = torch.Generator().manual_seed(0)
    scores = [score_maps(torch.rand(one.truth.shape, generator=generator), one.truth) for one in clips]
    total = sum(scores, Score()).figures()
    for name, (low, high) in intervals(scores, 200).items():
        assert low <= total[name] <= high
    same = intervals([scores[0]] * 4, 50)
    assert all(low == pytest.approx(high) for low, high in same.values())


def test_a_model_is_scored_as_its_maps_are(nano: Any, clips: list[Scene]):
    report = score_scenes(nano, clips[:2], steps=[1], num_inference_steps=3)
    assert report.names == ("clip-00000", "clip-00001")
    (found,) = look_at(nano, clips[0], [SaliencyMethod()], None, [1], num_inference_steps=3)
    assert report.scores[0] == score_found(found, clips[0].truth)
    assert report.total == report.scores[0] + report.scores[1]
    assert set(report.as_json()["figures"]) == set(FIGURES)
    with pytest.raises(ModelError, match="at least one scene"):
        score_scenes(nano, [])


def test_an_image_model_is_scored_on_pictures_and_refuses_clips(tmp_path: Path, clips: list[Scene]):
    pipe = IMAGE_CASES["sd3"].make()
    scenes = list(
        read_scenes(picture_folder(tmp_path, masks={"cat": "cat.png"}, rest="sea", others=["red dog"]))
    )
    report = score_scenes(pipe, scenes, height=16, width=24, num_inference_steps=3, max_sequence_length=16)
    assert report.total.pixels == 16 * 24
    with pytest.raises(ModelError, match="is a clip of 16 frames, and StableDiffusion3Pipeline makes images"):
        score_scenes(pipe, clips, num_inference_steps=3, max_sequence_length=16)


@pytest.mark.parametrize("size", [(16, 24), (24, 16), (32, 32), (4, 8)])
def test_masks_are_scaled_and_cut_as_their_picture_is(size: tuple[int, int]):
    """A white disc away from the middle, on black: wherever the picture is white, the mask is true."""
    rows, columns = torch.meshgrid(torch.arange(48), torch.arange(64), indexing="ij")
    disc = ((rows - 20) ** 2 + (columns - 40) ** 2 < 12**2)[None]
    scene = Scene(
        "disc", disc[:, None].expand(1, 3, -1, -1).float(), torch.stack([disc, ~disc]), ("disc", "rest")
    )
    pipe = IMAGE_CASES["sd3"].make()
    fitted = fit_scene(pipe, scene, *size)
    assert fitted.video.shape == (1, 3, *size)
    assert torch.equal(fitted.truth.sum(0), torch.ones(1, *size, dtype=torch.long))
    wrong = ((fitted.video[:, 0] > 0.5) != fitted.truth[0]).float().mean()
    assert wrong < 0.06  # the rim: a disc of radius r pixels has 2πr of them


def test_the_ablation_is_every_layer_at_every_level(nano: Any, clips: list[Scene]):
    found = ablate(nano, clips[:2], steps=[0, 2], inference_steps=3)
    assert found.table.shape == (2, 2)
    assert found.levels == tuple(sorted(found.levels, reverse=True))
    alone = score_scenes(nano, clips[:2], layers=[1], steps=[2], num_inference_steps=3)
    assert float(found.table[1, 1]) == pytest.approx(alone.total.figures()["miou"])
    both = score_scenes(nano, clips[:2], layers=[0, 1], steps=[2], num_inference_steps=3)
    assert found.value(found.by_step[2]) == pytest.approx(both.total.figures()["miou"])
    last = score_scenes(nano, clips[:2], layers=[1], steps=[0, 2], num_inference_steps=3)
    assert found.value(found.by_layer[1]) == pytest.approx(last.total.figures()["miou"])
    every = score_scenes(nano, clips[:2], layers=[0, 1], steps=[0, 2], num_inference_steps=3)
    assert found.value(found.all) == pytest.approx(every.total.figures()["miou"])
    layers = found.findings[0]
    late, early = (found.value(found.by_layer[layer]) for layer in (1, 0))
    assert layers.difference == pytest.approx(late - early)
    with pytest.raises(ModelError, match="figure must be one of"):
        ablate(nano, clips, figure="iou")


def test_verdicts_follow_the_interval():
    from videosieve.scenes import Finding

    for interval, verdict in (((0.1, 0.3), "held"), ((-0.3, -0.1), "not held"), ((-0.1, 0.3), "undecided")):
        assert Finding("", sum(interval) / 2, interval).verdict == verdict


def test_rendered_scenes_are_those_of_their_seeds(clips: list[Scene]):
    assert all(len(set(one.concepts)) == len(one.concepts) for one in clips)
    (second,) = rendered_scenes(1, SIDE, FIRST_SEED + 1)
    assert torch.equal(second.video, clips[1].video)
    assert torch.equal(second.truth.sum(0), torch.ones_like(second.truth[0], dtype=torch.long))
    assert not torch.equal(clips[0].video, clips[1].video)


@pytest.fixture(scope="module")
def model(nano: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("nano")
    nano.save_pretrained(folder)
    return str(folder)


def run(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


def test_the_verb_scores_a_folder(model: str, folder: Path, tmp_path: Path):
    words = ("--model", model, "--device", "cpu", "--steps", "3", "--look-at", "1", "-o", str(tmp_path / "o"))
    result = run("saliency-score", str(folder), *words)
    assert result.exit_code == 0, result.output
    scores = json.loads((tmp_path / "o" / "scores.json").read_text())
    assert list(scores["by_scene"]) == ["clip-00000", "clip-00001"]
    assert f"{scores['figures']['miou']:.3f}" in result.stdout
    assert "as the authors count it" in result.stdout


def test_the_ablation_is_a_command_with_a_page(model: str, folder: Path, tmp_path: Path):
    words = (
        "--model",
        model,
        "--device",
        "cpu",
        "--steps",
        "3",
        "--scenes",
        str(folder),
        "-o",
        str(tmp_path / "o"),
    )
    result = run("saliency", "--ablate", *words)
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "o" / "ablation.json").read_text())
    assert (found["layers"], found["steps"]) == ([0, 1], [0, 1, 2])
    assert [one["verdict"] for one in found["findings"]] == [
        line.split(":")[0] for line in result.stdout.splitlines()[: len(found["findings"])]
    ]
    page = (tmp_path / "o" / "ablation.html").read_text()
    best = max(value for row in found["table"] for value in row)
    assert f'class="best">{best:.3f}' in page


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("saliency", "--ablate", "a red circle"), "takes no a prompt"),
        (("saliency", "--ablate", "--concept", "red", "--fps", "8"), "takes no --concept and no --fps"),
        (("saliency", "--ablate", "--figure", "iou"), "figure must be one of"),
        (("saliency", "--ablate", "--clips", "0"), "clips must be at least 1"),
        (
            ("saliency", "a red circle", "--concept", "red", "--clips", "3"),
            "without --ablate there is no --clips",
        ),
        (("saliency-score", "nowhere"), "cannot read scenes 'nowhere/scenes.jsonl'"),
    ],
)
def test_bad_options_cost_nothing(words: tuple[str, ...], message: str, tmp_path: Path, model: str):
    result = run(*words, "--model", model, "-o", str(tmp_path / "o"))
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert not (tmp_path / "o").exists()
