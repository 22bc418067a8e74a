"""The mlx engine: mlx-lm's models, on Apple's GPUs and on any processor that MLX is built for."""

from entropix.errors import ModelError

try:
    from entropix.engines.mlx.importing import file_limit_kept

    with file_limit_kept():  # asked for here so that their absence is one clear message
        import mlx.core  # noqa: F401
        import mlx_lm  # noqa: F401
except ImportError as missing:
    raise ModelError(
        f"the mlx engine needs MLX and mlx-lm, which cannot be imported ({missing}); install them with: "
        "pip install 'entropix-llm[mlx]'"
    ) from missing

from entropix.engines.mlx.engine import MlxEngine

__all__ = ["MlxEngine"]
