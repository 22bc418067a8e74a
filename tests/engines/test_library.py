"""Which llama.cpp is used, that its structs lie as they are declared, and that two builds of it say the same."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from entropix.engines.llama_cpp.library import builds
from entropix.engines.llama_cpp.library.binding import Build, Llama, Unusable
from entropix.engines.llama_cpp.library.builds import BINDING, INSTALLED, WRITTEN_FOR, XLLAMACPP, choose
from entropix.engines.llama_cpp.library.declarations import ContextParams, ModelParams
from entropix.errors import ModelError
from helpers.llama import needs_llama_cpp

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def installed(name: str) -> Build:
    build = INSTALLED[name]()
    if build is None:
        if name == BINDING and os.environ.get("ENTROPIX_REQUIRE_SECOND"):
            pytest.fail("make test-llama-cpp-python is to test llama-cpp-python, which is not installed")
        pytest.skip(f"{name} is not installed" + "; make test-llama-cpp-python builds it" * (name == BINDING))
    return build


def without(kind: Any, field: str) -> Any:
    """The struct of a version that had no such field yet."""
    return type(kind.__name__, (ctypes.Structure,), {"_fields_": [f for f in kind._fields_ if f[0] != field]})


@pytest.mark.parametrize("name", INSTALLED)
def test_a_build_has_every_function_and_lays_its_structs_out_as_declared(name: str) -> None:
    llama = Llama(installed(name))
    settings = llama.llama_context_default_params()
    assert (settings.n_ctx, settings.n_batch, settings.type_k, settings.swa_full) == (512, 2048, 1, True)
    assert llama.llama_model_default_params().use_extra_bufts
    assert llama.ggml_op_name(0) == b"NONE"
    assert llama.function("llama_no_such_function", None) is None


@pytest.mark.parametrize("field", ["n_outputs_max_per_seq", "moe_cache_size", "yarn_orig_ctx"])
def test_another_layout_of_the_context_is_refused_and_both_versions_are_named(field: str) -> None:
    build = installed(XLLAMACPP)
    other = Build(
        build.name, "2027.1.1", build.files, WRITTEN_FOR, lambda: (ModelParams, without(ContextParams, field))
    )
    with pytest.raises(Unusable, match=rf"lays out llama_context_params in another way.*{WRITTEN_FOR}"):
        Llama(other)
    with pytest.raises(ModelError, match=r"xllamacpp 2027.1.1 lays out .* entropix was written for xllamacpp 2026"):
        choose({XLLAMACPP: lambda: other})


def test_another_layout_of_the_model_is_refused() -> None:
    build = installed(XLLAMACPP)
    other = Build(
        build.name, build.version, build.files, "", lambda: (without(ModelParams, "lazy_mode"), ContextParams)
    )
    with pytest.raises(Unusable, match="lays out llama_model_params in another way: main_gpu reads as 1"):
        Llama(other)


def test_a_library_without_the_functions_is_refused() -> None:
    import _ctypes

    with pytest.raises(Unusable, match="has no function llama_backend_init"):
        Llama(Build("other", "1", (Path(_ctypes.__file__),)))


def test_a_library_that_is_none_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "libllama.so"
    file.write_bytes(b"no library")
    with pytest.raises(ModelError, match=r"other 1 does not load \(.*libllama.so.*pip install"):
        choose({"other": lambda: Build("other", "1", (file,))})


def test_a_missing_libgomp_is_said_with_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> None:
        raise OSError("libgomp.so.1: cannot open shared object file: No such file or directory")

    monkeypatch.setattr(ctypes, "CDLL", fail)
    with pytest.raises(ModelError, match=r"libgomp.so.1.*apt-get install libgomp1"):
        choose({XLLAMACPP: lambda: Build(XLLAMACPP, "1", (Path("x.so"),))})


def fakes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **gpu: bool) -> dict[str, Callable[[], Build | None]]:
    """Builds named first and second, of which some can use a GPU; None for one that is not installed."""

    def opened(build: Build) -> Any:
        if build.version == "broken":
            raise Unusable("is broken")
        return SimpleNamespace(build=build, llama_supports_gpu_offload=lambda: gpu[build.name])

    monkeypatch.setattr(builds, "Llama", opened)
    found: dict[str, Callable[[], Build | None]] = {}
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / ("libggml-cuda.so" if gpu.get(name) else "libggml-cpu.so")).touch()
        file = tmp_path / name / "libllama.so"
        found[name] = lambda name=name, file=file: Build(name, "1", (file,)) if name in gpu else None  # type: ignore[misc]
    return found


def test_the_first_build_is_preferred(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    choice = choose(fakes(monkeypatch, tmp_path, first=False, second=False))
    assert (choice.name, choice.why) == ("first 1", "it comes ready-made")


def test_the_second_is_taken_where_the_first_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    choice = choose(fakes(monkeypatch, tmp_path, second=False))
    assert (choice.name, choice.why) == ("second 1", "first is not installed")


def test_the_second_is_taken_where_the_first_cannot_be_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = fakes(monkeypatch, tmp_path, second=False)
    choice = choose(found | {"first": lambda: Build("first", "broken", (tmp_path,))})
    assert (choice.name, choice.why) == ("second 1", "first broken is broken")


@pytest.mark.parametrize(("first", "taken"), [(False, "second 1"), (True, "first 1")])
def test_a_build_for_a_gpu_goes_before_one_without(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, first: bool, taken: str
) -> None:
    choice = choose(fakes(monkeypatch, tmp_path, first=first, second=True))
    assert choice.name == taken
    assert ("can use a GPU, which first 1 cannot" in choice.why) == (taken == "second 1")


def test_a_user_can_choose(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = fakes(monkeypatch, tmp_path, first=True, second=False)
    assert choose(found, "second").name == "second 1"
    with pytest.raises(ModelError, match="is 'third': allowed are first and second"):
        choose(found, "third")
    with pytest.raises(ModelError, match=r"none that can be used: second is not installed\. pip install"):
        choose(found | {"second": lambda: None}, "second")


def test_the_extra_pins_the_version_that_the_structs_are_of() -> None:
    extras = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert f"xllamacpp=={WRITTEN_FOR}; sys_platform != 'win32'" in extras["llama"]


def test_the_python_module_of_the_ready_made_build_is_not_imported() -> None:
    installed(XLLAMACPP)
    code = (
        "import sys; from entropix.engines.llama_cpp.library import load; load(); assert 'xllamacpp' not in sys.modules"
    )
    environment = os.environ | {builds.VARIABLE: XLLAMACPP}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


OBSERVE = """
import json, sys
import numpy as np
from entropix.engines.llama_cpp import LlamaCppEngine
from entropix.engines.llama_cpp.library import chosen
engine = LlamaCppEngine(sys.argv[1], context=256, sequences=2, threads=1, compile_tap=sys.argv[2] == "compiled")
tokens = engine.tokenizer.encode("The capital of France is Paris, and that of Italy is")
sequence = engine.open()
rows = []
for new in (tokens, [260], [253]):
    seen = engine.forward([(sequence, new)], attention=True)
    a = seen.attention
    rows.append([*map(float, (a.entropy[0], a.varentropy[0], a.agreement[0], a.interaction[0])),
                 *map(float, seen.logits[0, :50])])
print(json.dumps([chosen().llama.build.name, rows]))
"""


@pytest.mark.parametrize("tap", ["compiled", "numpy"])
def test_both_builds_give_the_same_logits_and_attention(smollm2: Path, tap: str) -> None:
    needs_llama_cpp()
    seen = {}
    for name in INSTALLED:
        installed(name)
        environment = os.environ | {builds.VARIABLE: name}
        done = subprocess.run(
            [sys.executable, "-c", OBSERVE, str(smollm2), tap], env=environment, check=True, capture_output=True
        )
        used, rows = json.loads(done.stdout)
        assert used == name
        seen[name] = np.array(rows)
    first, second = seen.values()
    # compilers order sums in their own ways, and activations are rounded to 8 bits: a difference of 1e-7 becomes one
    # of several thousandths a few layers later
    np.testing.assert_allclose(first[:, :4], second[:, :4], rtol=0.03, atol=2e-3)
    np.testing.assert_allclose(first[:, 4:], second[:, 4:], atol=0.5)
