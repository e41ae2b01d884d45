"""A lossless, parameter-free stand-in for a video VAE: 2 x 2 pixels become 12 channels."""

from dataclasses import dataclass

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.modeling_utils import ModelMixin
from torch.nn import functional as F

from videosieve.errors import ShapeError


class ExactLatents:
    """The "distribution" of a lossless code: one point."""

    def __init__(self, latents: torch.Tensor) -> None:
        self.latents = latents

    def sample(self, generator: torch.Generator | None = None) -> torch.Tensor:
        """The latents; `generator` is accepted for diffusers' sake and has nothing to decide."""
        del generator
        return self.latents

    def mode(self) -> torch.Tensor:
        """The latents."""
        return self.latents


@dataclass
class CodecOutput:
    """What `encode` returns, like diffusers' AutoencoderKLOutput."""

    latent_dist: ExactLatents


class ShapesCodec(ModelMixin, ConfigMixin):
    """diffusers' VAE interface around pixel_unshuffle; decode(encode(x)) is x, bit for bit.

    Args:
        patch: Pixels per latent cell along height and width, >= 1.
        scaling_factor: What a pipeline multiplies latents by; a power of two loses nothing.
        sample_size: Height and width of the videos the model was trained on, pixels.
    """

    @register_to_config
    def __init__(self, patch: int = 2, scaling_factor: float = 2.0, sample_size: int = 32) -> None:
        super().__init__()
        self.patch = self.spatial_compression_ratio = patch
        self.scaling_factor = scaling_factor
        self.sample_size = sample_size
        self.temporal_compression_ratio = 1
        # keeps .dtype and .device of a model without parameters
        self.register_buffer("anchor", torch.zeros(1), persistent=True)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype the codec was moved to."""
        return self.anchor.dtype

    @property
    def device(self) -> torch.device:
        """The device the codec was moved to."""
        return self.anchor.device

    def pack(self, video: torch.Tensor) -> torch.Tensor:
        """Packs pixels into channels.

        Args:
            video: Pixels in [-1, 1] [batch, 3, frames, height, width]; height and width divisible by `patch`.

        Returns:
            Latents [batch, 3 patch^2, frames, height / patch, width / patch].

        Raises:
            ShapeError: If video is not 5-D or does not divide.
        """
        if video.dim() != 5 or video.shape[-1] % self.patch or video.shape[-2] % self.patch:
            raise ShapeError(
                f"encode needs [batch, channels, frames, height, width] with height and width divisible by "
                f"{self.patch}; got {list(video.shape)}"
            )
        return F.pixel_unshuffle(video.transpose(1, 2), self.patch).transpose(1, 2)

    def unpack(self, latents: torch.Tensor) -> torch.Tensor:
        """Undoes `pack`.

        Args:
            latents: As `pack` returns them [batch, 3 patch^2, frames, rows, columns].

        Returns:
            Video [batch, 3, frames, patch rows, patch columns].

        Raises:
            ShapeError: If latents are not 5-D or their channels do not divide.
        """
        if latents.dim() != 5 or latents.shape[1] % self.patch**2:
            raise ShapeError(
                f"decode needs [batch, channels, frames, rows, columns] with channels divisible by "
                f"{self.patch**2}; got {list(latents.shape)}"
            )
        return F.pixel_shuffle(latents.transpose(1, 2), self.patch).transpose(1, 2)

    def encode(self, x: torch.Tensor, return_dict: bool = True) -> CodecOutput | tuple[ExactLatents]:
        """`pack` behind diffusers' interface.

        Args:
            x: Video [batch, 3, frames, height, width].
            return_dict: False returns a tuple.

        Returns:
            The exact latents as a distribution.
        """
        dist = ExactLatents(self.pack(x))
        return CodecOutput(dist) if return_dict else (dist,)

    def decode(self, z: torch.Tensor, return_dict: bool = True) -> DecoderOutput | tuple[torch.Tensor]:
        """`unpack` behind diffusers' interface.

        Args:
            z: Latents [batch, 3 patch^2, frames, rows, columns].
            return_dict: False returns a tuple.

        Returns:
            The video.
        """
        video = self.unpack(z)
        return DecoderOutput(sample=video) if return_dict else (video,)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Encodes and decodes: the identity."""
        return self.unpack(self.pack(x))
