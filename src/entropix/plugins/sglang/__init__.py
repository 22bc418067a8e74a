"""Entropix inside SGLang: a custom logit processor from whose logits a plain draw is the policy's draw.

    from entropix.plugins import sglang as plugin
    client.chat.completions.create(..., extra_body=plugin.request("edt"))

Light: a client makes requests with this, where there need be neither SGLang nor torch. SGLang itself unpacks
`processor.PolicyLogitProcessor` from the request; it runs with --enable-custom-logit-processor and has this package.
"""

from entropix.plugins.sglang.asking import PROCESSOR, custom_params, request

__all__ = ["PROCESSOR", "custom_params", "request"]
