"""The entry point of vLLM-Omni's group `vllm_omni.general_plugins`, which runs in all of its processes.

It does nothing unless `VIDEOSIEVE_VLLM_OMNI` names a member of the host's enumeration of backends: that member then
means videosieve. Members cannot be added from outside, so name one that nobody uses, such as SAGE_ATTN_3.
"""

import os

from videosieve.errors import IntegrationError

MEMBER = "VIDEOSIEVE_VLLM_OMNI"
BACKEND = "videosieve.integrations.vllm_omni.backend.VideosieveBackend"


def register() -> None:
    """Put videosieve in the place of the backend that the environment names; any number of times.

    Raises:
        IntegrationError: vLLM-Omni has no such backend.
    """
    member = os.environ.get(MEMBER, "")
    if not member:
        return
    from importlib import import_module

    host = import_module("vllm_omni.diffusion.attention.backends.registry")
    members = host.DiffusionAttentionBackendEnum.__members__
    if member not in members:
        raise IntegrationError(
            f"{MEMBER} must name a backend of this vLLM-Omni to put videosieve in its place: {', '.join(members)}; "
            f"got {member!r}"
        )
    host.register_diffusion_backend(members[member], BACKEND)
