"""Reading a model with Hugging Face's libraries: silently, and with errors a person can act on."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from huggingface_hub.utils import logging as hub_logging
from transformers.utils import logging

from entropix.errors import ModelError


@dataclass(frozen=True)
class Library:
    """What reads models. takes: what it can be given beside a hub name."""

    name: str
    version: str
    takes: str


def reading_error(source: str, file: str | None, error: Exception, library: Library) -> ModelError:
    """What to say of a model that cannot be read. source: a directory or a hub name; file: of it, where one was asked
    for."""
    lines = str(error).strip().splitlines()
    reason = f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
    if isinstance(error, ImportError):
        return ModelError(f"reading {source!r} needs a package that is not installed: {reason}")
    if Path(source).is_dir():
        what = str(Path(source) / file) if file else source
        return ModelError(
            f"the model at {what!r} cannot be read: {reason}; its files may be damaged or incomplete, or "
            f"of an architecture that {library.name} {library.version} does not know; download it again or "
            f"update {library.name}"
        )
    return ModelError(
        f"{source!r} is neither a directory here nor a model that can be fetched from the hub: {reason}; check "
        f"the name and the network (a gated model needs a login), or give {library.takes}"
    )


def no_hub_name(name: str) -> bool:
    """Whether a name that is no path here cannot be one on the hub either."""
    return name.startswith((".", "/", "~", "\\")) or name.count("/") > 1 or not name.strip()


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars, warnings or log lines of the library meanwhile; everything is put back afterwards."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    hub_level = hub_logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    hub_logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        # the bar of a GGUF's tensors knows no switch and goes straight to standard error
        with warnings.catch_warnings(), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        hub_logging.set_verbosity(hub_level)
        if bars:
            logging.enable_progress_bar()
