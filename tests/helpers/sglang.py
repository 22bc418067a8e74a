"""SGLang's side of a custom logit processor: its own text where there is one, else a stand-in.

The text comes from a folder into which its package was put without its dependencies (`make test-sglang`), since those
are CUDA's. Of it only what is called here is executed: the module of the base class, the function that calls processors
in the sampler, and the class of a request's end."""

from __future__ import annotations

import ast
import importlib.util
import json
import logging
import os
import pickle
import sys
import types
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

BASE = "sglang.srt.sampling.custom_logit_processor"
BATCH = "sglang.srt.managers.schedule_batch"
OURS = "entropix.plugins.sglang.processor"
VARIABLE = "ENTROPIX_SGLANG"


@dataclass
class Host:
    """What a test needs of SGLang, and our class as it was imported beside it. apply(logits, info): as its sampler
    does, in place."""

    base: type[Any]
    apply: Any
    processor: type[Any]


@contextmanager
def hosted(kind: str) -> Iterator[Host]:
    """kind: "its text" or "stand-in"."""
    base, batch, apply = _its_text(Path(os.environ[VARIABLE])) if kind == "its text" else _stand_in()
    parents = {".".join(name.split(".")[:n]) for name in (BASE, BATCH) for n in (1, 2, 3)}
    modules = {**{name: types.ModuleType(name) for name in parents}, BASE: base, BATCH: batch}
    sys.modules.update(modules)
    try:
        yield Host(base.CustomLogitProcessor, apply, import_module(OURS).PolicyLogitProcessor)
    finally:
        for name in (*modules, OURS):
            sys.modules.pop(name, None)


def rows_of(host: Host, string: str, params: list[dict[str, Any] | None], rows: list[int] | None = None) -> Any:
    """A batch's SamplingBatchInfo, as far as processors are concerned: this processor, asked for by some rows."""
    import torch

    at = list(range(len(params))) if rows is None else rows
    entry = SimpleNamespace(processor=host.base.from_str(string), rows=at, indices=torch.tensor(at))

    class Info:
        custom_params = params
        custom_logit_processor = {0: entry}  # noqa: RUF012  # as SGLang has it
        device = "cpu"

        def __len__(self) -> int:
            return len(params)

    return Info()


def _its_text(folder: Path) -> tuple[Any, Any, Any]:
    if str(folder) not in sys.path:
        sys.path.append(str(folder))  # for dill and orjson
    spec = importlib.util.spec_from_file_location(BASE, folder / (BASE.replace(".", "/") + ".py"))
    assert spec is not None
    assert spec.loader is not None
    base = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(base)
    batch = types.ModuleType(BATCH)
    _define(batch, folder / (BATCH.replace(".", "/") + ".py"), ["BaseFinishReason", "FINISH_ABORT"])
    sampler = types.ModuleType("sampler")
    _define(sampler, folder / "sglang/srt/layers/sampler.py", ["apply_custom_logit_processor"])
    return base, batch, sampler.apply_custom_logit_processor


def _define(module: Any, file: Path, names: list[str]) -> None:
    """Some classes and functions of a file, without what it imports."""
    import torch

    tree = ast.parse(file.read_text(encoding="utf-8"))
    body = [node for node in tree.body if getattr(node, "name", "") in names]
    assert len(body) == len(names), f"{file} has other names than {names}"
    vars(module).update(torch=torch, SamplingBatchInfo=Any, logger=logging.getLogger("sglang"))
    exec(compile(ast.Module(body, []), str(file), "exec"), vars(module))


def _stand_in() -> tuple[Any, Any, Any]:
    class CustomLogitProcessor(ABC):
        """The interface of SGLang 0.5.23, with pickle where it has dill."""

        @abstractmethod
        def __call__(self, logits: Any, custom_param_list: Any = None) -> Any: ...

        @classmethod
        def to_str(cls) -> str:
            return json.dumps({"callable": pickle.dumps(cls).hex()})

        @classmethod
        def from_str(cls, text: str) -> Any:
            return pickle.loads(bytes.fromhex(json.loads(text)["callable"]))()

    class FINISH_ABORT:
        def __init__(self, message: str, status_code: int, err_type: str) -> None:
            self.message, self.status_code, self.err_type = message, status_code, err_type

        def to_json(self) -> dict[str, Any]:
            return {"type": "abort", **vars(self)}

    def apply(logits: Any, info: Any, each: int = 1) -> None:
        for entry in info.custom_logit_processor.values():
            at = [row * each + n for row in entry.rows for n in range(each)]
            params = [info.custom_params[row] for row in entry.rows for _ in range(each)]
            logits[at] = entry.processor(logits[at], params)

    base, batch = types.ModuleType(BASE), types.ModuleType(BATCH)
    base.CustomLogitProcessor = CustomLogitProcessor  # type: ignore[attr-defined]
    batch.FINISH_ABORT = FINISH_ABORT  # type: ignore[attr-defined]
    return base, batch, apply
