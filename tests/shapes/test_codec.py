"""The codec: lossless, with the interface of a diffusers VAE."""

from pathlib import Path

import pytest
import torch

from videosieve.errors import ShapeError
from videosieve.shapes.codec import ShapesCodec


def test_decode_undoes_encode_bit_for_bit():
    video = torch.randn(2, 3, 5, 12, 8)
    codec = ShapesCodec()
    latents = codec.encode(video).latent_dist.sample()
    assert latents.shape == (2, 12, 5, 6, 4)
    assert torch.equal(codec.decode(latents).sample, video)
    assert torch.equal(codec.decode(latents, return_dict=False)[0], video)
    assert torch.equal(codec(video), video)
    scaled = latents * codec.config.scaling_factor / codec.config.scaling_factor
    assert torch.equal(codec.decode(scaled).sample, video)


def test_a_latent_cell_holds_its_own_pixels_and_frame_only():
    video = torch.zeros(1, 3, 4, 8, 8)
    video[0, 1, 2, 4:6, 6:8] = 1
    latents = ShapesCodec().encode(video).latent_dist.mode()
    assert latents[0, :, 2, 2, 3].sum() == 4
    assert latents.sum() == 4


def test_dtype_and_device_follow_without_parameters():
    codec = ShapesCodec().to(torch.bfloat16)
    assert codec.dtype is torch.bfloat16
    assert codec.device.type == "cpu"
    assert list(codec.parameters()) == []
    assert codec.temporal_compression_ratio == 1
    assert codec.spatial_compression_ratio == 2


def test_save_and_load_keep_the_config(tmp_path: Path):
    ShapesCodec(patch=4, scaling_factor=0.5, sample_size=64).save_pretrained(tmp_path)
    loaded = ShapesCodec.from_pretrained(tmp_path)
    assert (loaded.config.patch, loaded.config.scaling_factor, loaded.config.sample_size) == (4, 0.5, 64)
    assert loaded.spatial_compression_ratio == 4


@pytest.mark.parametrize("shape", [(3, 4, 8, 8), (1, 3, 4, 7, 8), (1, 3, 4, 8, 5)])
def test_encode_refuses_what_does_not_divide(shape: tuple[int, ...]):
    with pytest.raises(ShapeError, match="divisible by 2"):
        ShapesCodec().encode(torch.zeros(shape))


def test_decode_refuses_other_channels():
    with pytest.raises(ShapeError, match="channels divisible by 4"):
        ShapesCodec().decode(torch.zeros(1, 3, 2, 4, 4))
