"""llama.cpp, through llama-cpp-python's low-level API: GGUF models on CPUs and whatever else it was built for."""

from __future__ import annotations

from entropix.engines.llama_cpp.engine import LlamaCppEngine

__all__ = ["LlamaCppEngine"]
