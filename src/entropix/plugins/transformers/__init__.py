"""transformers' own `generate`, decoding as this project does.

    import entropix.plugins.transformers as plugin
    model.generate(**inputs, custom_generate=plugin.generate, policy="entropix", seed=1, max_new_tokens=200)
    model.generate(**inputs, logits_processor=[plugin.PolicyProcessor.of(model, tokenizer, "mirostat", seed=1)])

`generate` runs the decoding loop of this project on the model: every policy and search, attention signals, injected
texts. A `PolicyProcessor` sits in transformers' own loop and knows logits only. `write` makes the folder from which
transformers takes `generate` by name, `python -m entropix.plugins.transformers FOLDER` on the command line.
"""

from entropix.plugins.transformers.folder import write
from entropix.plugins.transformers.loop import generate
from entropix.plugins.transformers.processor import PolicyProcessor

__all__ = ["PolicyProcessor", "generate", "write"]
