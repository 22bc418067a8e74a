"""Decoding that knows when the model is unsure.

    import entropix
    model = entropix.load("smollm2")
    print(model.generate("Why is the sky blue?", seed=1).text)

Names are imported when they are first used, so that `import entropix` loads no engine, no torch and no server.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from entropix.types import Result as _Result

if TYPE_CHECKING:
    from entropix.errors import EntropixError as EntropixError
    from entropix.model import Chat as Chat
    from entropix.model import Model as Model
    from entropix.model import Stream as Stream
    from entropix.model import Token as Token
    from entropix.model import load as load
    from entropix.profiles import Profile as Profile
    from entropix.profiles.calibrate import calibrate as calibrate
    from entropix.types import Regime as Regime
    from entropix.types import Result as Result
    from entropix.types import Step as Step

_HOMES = {
    "Chat": "entropix.model",
    "EntropixError": "entropix.errors",
    "Model": "entropix.model",
    "Profile": "entropix.profiles",
    "Regime": "entropix.types",
    "Result": "entropix.types",
    "Step": "entropix.types",
    "Stream": "entropix.model",
    "Token": "entropix.model",
    "calibrate": "entropix.profiles",
    "load": "entropix.model",
}

__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from entropix.version import entropix_version

        return entropix_version()
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'entropix' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


def _result_in_notebook(result: _Result) -> str:
    from entropix.trace.html import result_frame

    return result_frame(result)


_Result._repr_html_ = _result_in_notebook
