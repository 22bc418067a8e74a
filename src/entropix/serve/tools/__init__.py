"""Tools: what a model is shown of them, how it writes calls, and what a client gets of what it wrote."""
