"""What may be given by keyword: a type checker finds a misspelt option before anything runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import Tensor

from videosieve.concepts import SaliencyMethod
from videosieve.methods import Method
from videosieve.overrides import Overrides
from videosieve.recipe import Recipe
from videosieve.run import Run
from videosieve.trace import Trace


class SparsifyOptions(Overrides, total=False):
    """What `videosieve.sparsify` takes beside a pipeline and a recipe."""

    steps: int | None
    check_finite: bool
    recall_rows: int
    backend: str | None
    fused: bool | None
    deal: str | Path | Trace | None


class PipelineCall(TypedDict, total=False):
    """What diffusers' video pipelines take in a call beside the prompt. Of one pipeline or another, never of all."""

    height: int | None
    width: int | None
    num_frames: int | None
    num_inference_steps: int | None
    guidance_scale: float | None
    guidance_scale_2: float | None
    true_cfg_scale: float | None
    output_type: str | None
    negative_prompt: str | list[str] | None
    num_videos_per_prompt: int
    picture: Tensor | None
    generator: torch.Generator | list[torch.Generator] | None
    latents: Tensor | None
    max_sequence_length: int
    frame_rate: float
    fps: float
    strength: float
    seed: int | None
    action: Any
    action_latents: Any
    adain_factor: Any
    add_duration_template: Any
    add_noise_to_image_latents: Any
    add_noise_to_video_latents: Any
    add_resolution_template: Any
    addnoise_condition: Any
    ar_step: Any
    attention_kwargs: Any
    audio_guidance_rescale: Any
    audio_guidance_scale: Any
    audio_latents: Any
    audio_modality_scale: Any
    audio_stg_scale: Any
    augment_sigma: Any
    background_video: Any
    base_num_frames: Any
    callback_on_step_end: Any
    callback_on_step_end_tensor_inputs: Any
    causal_block_size: Any
    clean_caption: Any
    cond_image: Any
    cond_strength: Any
    condition_frame_indexes_vision: Any
    condition_num_frames: Any
    condition_video_keep: Any
    conditional_frame_timestep: Any
    conditioning_attention_mask: Any
    conditioning_attention_strength: Any
    conditioning_scale: Any
    conditions: Any
    connector_audio_embeds: Any
    connector_video_embeds: Any
    control_camera_video: Any
    control_video: Any
    control_video_latents: Any
    controls: Any
    controls_conditioning_scale: Any
    decode_horizontal_tiles: Any
    decode_noise_scale: Any
    decode_overlap: Any
    decode_timestep: Any
    decode_vertical_tiles: Any
    denoise_strength: Any
    denormalize: Any
    enable_prompt_enhancement: Any
    enable_safety_check: Any
    enable_sound: Any
    enable_temporal_reasoning: Any
    eta: Any
    expand_prompts: Any
    face_video: Any
    fake_image_latents: Any
    frame_index: Any
    freeze_audio: Any
    generate_slots: Any
    guidance_keyframe_latents: Any
    guidance_keyframe_positions: Any
    guidance_keyframe_strength: Any
    guidance_latents: Any
    guidance_rescale: Any
    guiding_strength: Any
    history_sizes: Any
    image: Any
    image_cond_noise_scale: Any
    image_crf: Any
    image_embed_interleave: Any
    image_embeds: Any
    image_latents: Any
    image_noise_sigma_max: Any
    image_noise_sigma_min: Any
    input_frames_guidance: Any
    is_amplify_first_chunk: Any
    is_skip_first_chunk: Any
    keep_first_frame: Any
    keyframe_positions: Any
    keyframes_latents: Any
    last_image: Any
    last_image_latents: Any
    latent_window_size: Any
    latents_normalized: Any
    mask: Any
    mask_video: Any
    masked_video_latents: Any
    max_seconds: Any
    min_seconds: Any
    mixed_precision_first_steps: Any
    mixed_precision_format: Any
    mixed_precision_last_steps: Any
    mixed_precision_reasoner_policy: Any
    modality_scale: Any
    mode: Any
    motion_encode_batch_size: Any
    motion_speed: Any
    negative_index_latents: Any
    negative_index_strength: Any
    negative_pooled_prompt_embeds: Any
    negative_prompt_2: Any
    negative_prompt_attention_mask: Any
    negative_prompt_cu_seqlens: Any
    negative_prompt_embeds: Any
    negative_prompt_embeds_2: Any
    negative_prompt_embeds_clip: Any
    negative_prompt_embeds_mask: Any
    negative_prompt_embeds_mask_2: Any
    negative_prompt_embeds_qwen: Any
    noise_aug_strength: Any
    noise_scale: Any
    num_ar_conditional_frames: Any
    num_ar_latent_conditional_frames: Any
    num_frames_per_chunk: Any
    num_images_per_prompt: int
    num_latent_conditional_frames: Any
    num_latent_frames_per_chunk: Any
    num_temporal_reasoning_steps: Any
    output: Any
    overlap_history: Any
    pooled_prompt_embeds: Any
    pose_video: Any
    prev_segment_conditioning_frames: Any
    prompt_2: Any
    prompt_attention_mask: Any
    prompt_cu_seqlens: Any
    prompt_embeds: Any
    prompt_embeds_2: Any
    prompt_embeds_clip: Any
    prompt_embeds_mask: Any
    prompt_embeds_mask_2: Any
    prompt_embeds_qwen: Any
    prompt_enhancement_kwargs: Any
    prompt_enhancement_seed: Any
    prompt_max_new_tokens: Any
    prompt_segments: Any
    prompt_template: Any
    pyramid_num_inference_steps_list: Any
    ref_image: Any
    reference_conditions: Any
    reference_downscale_factor: Any
    reference_images: Any
    reference_latents: Any
    round_index: Any
    sample_audio: Any
    sampling_type: Any
    segment_frame_length: Any
    sigma_conditioning: Any
    sigmas: Any
    skip_steps_sigma_threshold: Any
    sound_latents: Any
    source_seconds: Any
    spatial_patch_size: Any
    spatio_temporal_guidance_blocks: Any
    state: Any
    stg_scale: Any
    system_prompt: Any
    temporal_overlap: Any
    temporal_overlap_cond_strength: Any
    temporal_patch_size: Any
    temporal_tile_size: Any
    timesteps: Any
    tone_map_compression_ratio: Any
    use_cross_timestep: Any
    use_dynamic_cfg: Any
    use_mean_velocity: Any
    use_system_prompt: Any
    use_zero_init: Any
    vae_batch_size: Any
    video: Any
    video_latents: Any
    video_noise_sigma_max: Any
    video_noise_sigma_min: Any
    video_tiles: Any
    zero_steps: Any


class SaliencyOptions(PipelineCall, total=False):
    """What `videosieve.saliency` takes beside prompt and concepts; see `videosieve.integrations.diffusers.saliency`."""

    layers: Sequence[int] | None
    steps: Sequence[int] | None
    method: str | SaliencyMethod
    recipe: str | Path | Method | Recipe | Run | None


class InspectionOptions(PipelineCall, total=False):
    """What `videosieve.inspect_attention` takes beside a prompt."""

    layers: Sequence[int] | None
    heads: Sequence[int] | None
    steps: Sequence[int] | None
    recipe: str | Path | Method | Recipe | Run | None
