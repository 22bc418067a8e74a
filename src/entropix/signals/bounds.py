"""Bounds of the histograms of entropies, the same in the metrics of our server and of a vLLM worker."""

ENTROPY_BOUNDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
"""Upper bounds of the buckets, in nats."""
