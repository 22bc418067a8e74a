"""transformers' own model.generate, decoding by entropy: the same call with a policy, and what is known of each token.

python examples/transformers_generate.py [MODEL DIRECTORY OR HUB NAME]"""

import sys
from functools import partial

import transformers

from entropix.models import embedded
from entropix.plugins import transformers as plugin

if len(sys.argv) > 1:
    where = {"pretrained_model_name_or_path": sys.argv[1]}
else:  # the small model that comes along is a GGUF file, which transformers unpacks
    file = embedded.get()
    where = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
tokenizer = transformers.AutoTokenizer.from_pretrained(**where)
model = transformers.AutoModelForCausalLM.from_pretrained(**where)

question = [{"role": "user", "content": "What is the capital of France?"}]
inputs = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt", return_dict=True)
results: list = []
generate = partial(plugin.generate, tokenizer=tokenizer)
tokens = model.generate(
    **inputs, max_new_tokens=24, custom_generate=generate, policy="entropix", seed=1, results=results
)
print(tokenizer.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
for step in results[0].steps[:6]:
    print(f"{step.label!r:12} entropy {step.entropy:.2f} nats, {step.regime.label}")

processor = plugin.PolicyProcessor.of(model, tokenizer, "mirostat", seed=1)
tokens = model.generate(**inputs, max_new_tokens=24, logits_processor=[processor], do_sample=False)
print("mirostat, in transformers' own loop:", tokenizer.decode(tokens[0, inputs["input_ids"].shape[1] :]))
