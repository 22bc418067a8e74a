"""Entropix inside vLLM: a logits processor that vLLM finds by its entry point `vllm.logits_processors`.

Light: vLLM's API server imports this to check requests, where no model and no torch of ours has any business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from entropix.plugins.vllm.asking import check

if TYPE_CHECKING:
    Interface = object
else:
    try:
        from vllm.v1.worker.gpu.sample.logits_processor import LogitsProcessor as Interface
    except ImportError:  # a vLLM before its second model runner
        Interface = object


class LogitsProcessor(Interface):
    """What vLLM constructs: the processor of the model runner that is running.

    vLLM has two interfaces under one entry point, and only the arguments of the constructor say which one is meant:
    (config, device, pinned) for Model Runner V1, (config, request states) for V2, whose loader also wants a subclass
    of its interface.
    """

    def __new__(cls, config: Any, *rest: Any) -> Any:
        if len(rest) == 1:
            from entropix.plugins.vllm.v2 import SecondRunner

            return SecondRunner(config, *rest)
        from entropix.plugins.vllm.v1 import FirstRunner

        return FirstRunner(config, *rest)

    def apply(self, logits: Any, ctx: Any = None) -> Any:
        raise NotImplementedError  # only what `__new__` returns is ever asked

    @classmethod
    def validate_params(cls, sampling_params: Any) -> None:
        """Raise ValueError, which becomes a 400, for a request that asks for what there is not."""
        check(sampling_params)


def register() -> None:
    """Prepare a process of vLLM: the attention back-end, and the way by which counts reach `/metrics`."""
    from entropix.plugins.vllm import attention, metrics

    metrics.register()
    attention.register()


__all__ = ["LogitsProcessor", "register"]
