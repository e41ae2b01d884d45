"""Sparse attention inside vLLM-Omni, which finds it by entry points; nothing of vLLM-Omni is imported until it asks.

`sparse_attn` has the functions of its group `vllm_omni.sparse_attn`. `register`, of `vllm_omni.general_plugins`, puts
the attention backend in `backend` in place of another where the environment names that one.
"""
