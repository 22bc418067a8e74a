"""Attention signals inside vLLM: a back-end that computes what the platform's own does, and also measures.

`register` is called by the entry point `entropix` in the group `vllm.general_plugins`, which vLLM loads in every
process. It only names classes: nothing of ours is built unless the operator asks for it with
`--additional-config '{"entropix": {"attention": true}}'`.
"""

from __future__ import annotations

import logging

CPU_BACKEND = "entropix.plugins.vllm.attention.cpu.CPUBackend"


def register() -> None:
    """Stand in for vLLM's CPU attention back-end; called in every process, any number of times.

    The CPU platform takes its own back-end whatever `--attention-backend` says, so that one is overridden.
    Another plug-in's override is left alone."""
    from vllm.v1.attention.backends.registry import AttentionBackendEnum, register_backend

    name = AttentionBackendEnum.CPU_ATTN
    if name.is_overridden() and name.get_path() != CPU_BACKEND:
        logging.getLogger("vllm.entropix.attention").warning(
            "CPU_ATTN is already replaced by %s, so Entropix has no attention signals", name.get_path()
        )
        return
    register_backend(name, CPU_BACKEND)
