"""What engines share that read Hugging Face's files: tokenizers, and what a configuration says. Needs transformers,
and no library that computes."""
