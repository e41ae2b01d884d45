"""Saliency from a request to files, and the verb on top of it."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from videosieve.cli import app
from videosieve.concepts import SaliencyMaps, SaliencyMethod
from videosieve.errors import ModelError, RecipeError
from videosieve.generation.request import Request
from videosieve.generation.saliency import find_saliency, parse_indices, parse_method, write_saliency

PROMPT = "a red circle moves left"


@pytest.fixture(scope="module")
def model(nano: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("nano")
    nano.save_pretrained(folder)
    return str(folder)


def test_files_of_a_request(nano: Any, tmp_path: Path):
    request = Request(PROMPT, steps=2, frames=4, guidance=1.0)
    found = find_saliency(nano, request, ["left", "red circle"], SaliencyMethod())
    page = write_saliency(found, tmp_path / "s", "a <b> circle", fps=8.0)
    names = {file.name for file in page.parent.iterdir()}
    videos = {"video.mp4", "overlay.mp4", "concept-0.mp4", "concept-1.mp4"}
    assert names == videos | {"overlay.png", "saliency.safetensors", "saliency.html"}
    assert torch.equal(SaliencyMaps.load(page.parent / "saliency.safetensors").maps, found.maps)
    text = page.read_text()
    assert text.count("data:video/mp4;base64,") == 1  # every card draws the same one
    assert "a &lt;b&gt; circle" in text
    for name in ("http-equiv", "http://www.w3.org/2000/svg"):  # a policy, and a name that nobody fetches
        text = text.replace(name, "")
    assert "http" not in text


def test_the_verb_writes_a_page_and_says_who_wins(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    words = ["saliency", PROMPT, "--concept", "red circle", "--concept", "background", "--model", model]
    words += ["--steps", "2", "--frames", "4", "--device", "cpu", "--layers", "0,1", "--look-at", "1"]
    result = CliRunner().invoke(app, [*words, "-o", "out"])
    assert result.exit_code == 0, result.output
    shares = [float(line.split()[-4].rstrip("%")) for line in result.stdout.splitlines()[:2]]
    assert sum(shares) == pytest.approx(100, abs=0.2)
    assert result.stdout.splitlines()[-1] == "open out/saliency.html"
    found = SaliencyMaps.load("out/saliency.safetensors")
    assert (found.layers, found.steps, found.concepts) == ((0, 1), (1,), ("red circle", "background"))


def page_data(page: Path) -> Any:
    return json.loads(page.read_text().split('id="data">')[1].split("</script>")[0])


def test_the_page_holds_the_maps_exactly_enough(nano: Any, tmp_path: Path):
    request = Request(PROMPT, steps=2, frames=4, guidance=1.0)
    found = find_saliency(nano, request, ["left", "red circle"], SaliencyMethod(keep="sites"), look_at=(0, 1))
    data = page_data(write_saliency(found, tmp_path / "s", "a", 8.0, {"model": "nano", "seed": 7}))
    names = ["mean", "layer 0", "layer 1", "step 0", "step 1"]
    assert [one["name"] for one in data["maps"]] == names
    means = {"mean": found.maps, **found.means()}
    for one in data["maps"]:
        maps = means[one["name"]]
        heat = (
            torch.frombuffer(bytearray(base64.b64decode(one["heat"])), dtype=torch.uint8).view(maps.shape)
            / 255
        )
        low, high = (torch.tensor(one[end]).view(-1, 1, 1, 1) for end in ("low", "high"))
        torch.testing.assert_close(
            low + heat * (high - low), maps, atol=float((high - low).max()) / 255, rtol=0
        )
        winners = torch.frombuffer(bytearray(base64.b64decode(one["winners"])), dtype=torch.uint8)
        assert torch.equal(winners.view(maps.shape[1:]).long(), maps.argmax(0))
        shares = found.masks() if one["name"] == "mean" else None
        if shares is not None:
            torch.testing.assert_close(
                torch.tensor(one["shares"]).T, shares.float().mean((2, 3)), atol=1e-4, rtol=0
            )
    torch.testing.assert_close((means["layer 0"] + means["layer 1"]) / 2, found.maps)
    torch.testing.assert_close((means["step 0"] + means["step 1"]) / 2, found.maps)


def test_an_image_has_pictures_in_the_place_of_films(tmp_path: Path):
    from videosieve.testing.models.pipelines.images import IMAGE_CASES

    case = IMAGE_CASES["sd3"]
    request = Request("a red cat", steps=2, height=16, width=24, guidance=3.0)
    found = find_saliency(case.make(), request, ["cat", "sea"], SaliencyMethod())
    page = write_saliency(found, tmp_path / "s", "a red cat", fps=8.0)
    names = {file.name for file in page.parent.iterdir()}
    assert names == {
        "image.png", "overlay.png", "concept-0.png", "concept-1.png", "saliency.safetensors", "saliency.html",
    }  # fmt: skip
    data = page_data(page)
    assert (data["frames"], data["grid"]) == (1, [1, 4, 6])
    text = page.read_text()
    assert "data:image/png;base64," in text
    assert "scrubber" not in text.split("<script")[0].split("</style>")[1]


def image_model(folder: Path) -> str:
    """A folder that says it is an image model; nothing of it is loaded."""
    index = {"_class_name": "FluxPipeline", "transformer": ["diffusers", "FluxTransformer2DModel"]}
    (folder / "flux").mkdir()
    (folder / "flux" / "model_index.json").write_text(json.dumps(index))
    return str(folder / "flux")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--frames", "8"), "makes images and takes no --frames"),
        (("--fps", "8"), "makes images and takes no --fps"),
        (("--video", "x.mp4"), "takes no --video; leave that out, or give --picture"),
    ],
)
def test_an_image_model_takes_no_options_of_videos(words: tuple[str, ...], message: str, tmp_path: Path):
    words = ("saliency", "a cat", "--concept", "cat", "--concept", "sea", *words, "-o", str(tmp_path / "o"))
    result = CliRunner().invoke(app, [*words, "--model", image_model(tmp_path)])
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert not (tmp_path / "o").exists()


def test_a_video_model_takes_no_picture(model: str, tmp_path: Path):
    words = [
        "saliency",
        PROMPT,
        "--concept",
        "red",
        "--concept",
        "left",
        "--picture",
        "x.png",
        "--model",
        model,
    ]
    result = CliRunner().invoke(app, [*words, "-o", str(tmp_path / "o")])
    assert result.exit_code == 2
    assert "makes videos and takes no --picture" in " ".join(result.stderr.split())
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "at least one concept"),
        (("--concept", "red", "--concept", "Kreis"), "unknown: 'kreis'"),
        (("--concept", "red", "--layers", "2-1"), "ranges like 15-18; got '2-1'"),
        (("--concept", "red", "--method", "gram"), "must be 'concept' or 'cross_attention', got name='gram'"),
        (("--concept", "red", "--temperature", "0"), "temperature must be above 0"),
        (("--concept", "red", "--sight", "all"), "sight='all'"),
        (("--concept", "red", "--sight", "both:0-"), "layers of a sight must be indices"),
        (("--concept", "red", "--sight", "both:0,none:9"), "layers must be at least one of 0 … 1"),
        (("--concept", "red", "--space", "keys"), "space='keys'"),
        (("--concept", "red", "--average", "never"), "average='never'"),
        (("--concept", "red", "--keep", "all"), "keep='all'"),
    ],
)
def test_bad_options_cost_no_generation(words: tuple[str, ...], message: str, tmp_path: Path, model: str):
    result = CliRunner().invoke(
        app, ["saliency", PROMPT, "--model", model, *words, "-o", str(tmp_path / "o")]
    )
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert not (tmp_path / "o").exists()


def test_the_verb_reads_layers_with_sights_of_their_own(nano: Any, model: str, tmp_path: Path):
    """One command is the mean of two calls, the layer of each counting once."""
    words = [
        "saliency",
        PROMPT,
        "--concept",
        "red circle",
        "--concept",
        "background",
        "--model",
        model,
        "--steps",
        "2",
    ]
    words += ["--frames", "4", "--device", "cpu", "--look-at", "1", "--sight", "both:0,none:1"]
    result = CliRunner().invoke(app, [*words, "-o", str(tmp_path / "o")])
    assert result.exit_code == 0, result.output
    found = SaliencyMaps.load(tmp_path / "o" / "saliency.safetensors")
    request = Request(PROMPT, steps=2, frames=4)
    parts = [
        find_saliency(nano, request, list(found.concepts), method, layers=(layer,), look_at=(1,)).maps
        for layer, method in enumerate((SaliencyMethod(), SaliencyMethod(sight="none")))
    ]
    torch.testing.assert_close(found.maps, torch.stack(parts).mean(0))


def test_sights_by_layer_are_read_or_refused():
    assert parse_method("concept", 1.0, sight="video").sight == "video"
    assert parse_method("concept", 1.0, sight="both:0, none:2-3,5").sights == {
        0: "both", 2: "none", 3: "none", 5: "none",
    }  # fmt: skip
    for text, error, message in (
        ("both:", ModelError, "layers of a sight must be indices"),
        ("0,both:1", ModelError, "must begin with a sight"),
        (":1", RecipeError, "must be 'both'"),
        ("both:0,none:0-1", RecipeError, "a layer must have one sight"),
    ):
        with pytest.raises(error, match=message):
            parse_method("concept", 1.0, sight=text)


def test_indices_are_read_or_refused():
    assert parse_indices("layers", None) is None
    assert parse_indices("layers", "3, 0") == (3, 0)
    assert parse_indices("layers", "15-18, 3,16") == (15, 16, 17, 18, 3)
    for text in ("", "a", "-1", "1,,2", "1-2-3", "4-2", "1-"):
        with pytest.raises(ModelError, match="layers must be indices"):
            parse_indices("layers", text)
