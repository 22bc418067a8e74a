"""llama.cpp through its C API: GGUF models on CPUs and whatever else the build in use was made for."""

from __future__ import annotations

from entropix.engines.llama_cpp.engine import LlamaCppEngine

__all__ = ["LlamaCppEngine"]
