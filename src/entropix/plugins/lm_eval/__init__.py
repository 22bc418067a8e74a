"""A model for EleutherAI's lm-evaluation-harness. `model` imports it; `python -m` runs its command line with ours."""
