"""The mlx engine against plain forwards of transformers on the same weights; the contract is in test_contract.py."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.mlx import needs_mlx

needs_mlx()
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import mlx.core as mx  # noqa: E402
import mlx_lm  # noqa: E402

import entropix  # noqa: E402
from entropix.cli import main  # noqa: E402
from entropix.engines.mlx import MlxEngine, inspection  # noqa: E402
from entropix.engines.mlx.loading import rotary  # noqa: E402
from entropix.engines.transformers import TransformersEngine  # noqa: E402
from entropix.errors import CapabilityError, CapacityError, ModelError, ParameterError  # noqa: E402
from entropix.models import load_engine, resolve  # noqa: E402
from helpers import tiny  # noqa: E402
from helpers.plain import assert_shows, eager_attention, mixed_work, plain_logits  # noqa: E402

WINDOW = 5
CONTEXT = 40
SLIDING = ["sliding_attention"] * 3 + ["full_attention"]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny models spend their time waiting for each other's threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def configuration(family: str) -> Any:
    grouped = {**tiny.SMALL, "num_key_value_heads": 2}
    made: dict[str, Callable[[], Any]] = {
        "llama": lambda: transformers.LlamaConfig(**grouped),
        "qwen2": lambda: transformers.Qwen2Config(**grouped),
        "qwen3": lambda: transformers.Qwen3Config(**grouped, head_dim=8),
        "gemma2": lambda: transformers.Gemma2Config(
            **grouped, head_dim=8, query_pre_attn_scalar=8, attn_logit_softcapping=5.0, sliding_window=2048
        ),
        "gemma3": lambda: transformers.Gemma3TextConfig(
            **{**tiny.SMALL, "hidden_size": 64, "intermediate_size": 128},  # mlx-lm rounds √hidden_size to bfloat16
            **{"num_key_value_heads": 1, "head_dim": 16, "sliding_window": WINDOW},
            layer_types=SLIDING,
            sliding_window_pattern=len(SLIDING),
        ),
        "mamba": lambda: transformers.MambaConfig(vocab_size=260, hidden_size=8, num_hidden_layers=1, state_size=2),
    }
    return made[family]()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Any, Path]]:
    """By family the transformers model and its directory, made once."""
    made: dict[str, tuple[Any, Path]] = {}

    def of(family: str) -> tuple[Any, Path]:
        if family not in made:
            model = tiny.random_model(configuration(family))
            made[family] = model, tiny.save(model, tmp_path_factory.mktemp(family))
        return made[family]

    return of


@pytest.fixture
def llama(saved: Any) -> MlxEngine:
    return MlxEngine.load(saved("llama")[1], context=CONTEXT, sequences=5)


def tokens_of(n: int) -> list[int]:
    return [random.randrange(2, 258) for _ in range(n)]


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "gemma2", "gemma3"])
def test_any_mix_of_operations_shows_what_a_fresh_forward_of_transformers_shows(family: str, saved: Any) -> None:
    model, folder = saved(family)
    engine = MlxEngine.load(folder, context=CONTEXT, sequences=5)
    attends = family != "gemma2"
    assert engine.capabilities.attention is attends
    random.seed(1)
    for work in mixed_work(engine, tokens_of, CONTEXT):
        seen = engine.forward(work, attention=attends)
        for n, (row, _) in enumerate(work):
            np.testing.assert_allclose(seen.logits[n], plain_logits(model, row.tokens), atol=2e-5)
            if attends:
                weights = eager_attention(model, row.tokens, layer=3)
                assert_shows(seen.attention, n, weights)


@pytest.mark.parametrize("layers", [None, [0], [1, 2]])
def test_attention_signals_are_those_of_the_transformers_engine(layers: list[int] | None, saved: Any) -> None:
    _, folder = saved("llama")
    shown = []
    for kind, options in ((MlxEngine, {}), (TransformersEngine, {"device": "cpu"})):
        engine = kind.load(folder, dtype="float32", context=CONTEXT, attention_layers=layers, **options)
        rows = [engine.open(), engine.open()]
        engine.forward([(rows[0], [5, 6, 7]), (rows[1], [9])])
        shown.append(engine.forward([(rows[0], [8]), (rows[1], [3, 4])], attention=True).attention)
        engine.shutdown()
    for name in ("entropy", "varentropy", "agreement", "interaction"):
        np.testing.assert_allclose(getattr(shown[0], name), getattr(shown[1], name), atol=1e-5)


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_greedy_text_is_that_of_the_transformers_engine_alone_and_in_a_batch(family: str, saved: Any) -> None:
    _, folder = saved(family)
    prompts = ["Once", "The sea was calm and", "One, two, three, four,", "x"]
    texts = []
    for engine, options in (("mlx", {}), ("transformers", {"device": "cpu"})):
        model = entropix.load(folder, engine=engine, dtype="float32", **options)
        asked = {"policy": "greedy", "max_tokens": 16, "raw": True}
        together = [result.tokens for result in model.generate(prompts, **asked)]
        assert [model.generate(prompt, **asked).tokens for prompt in prompts] == together
        texts.append(together)
    assert texts[0] == texts[1]


def test_it_is_described_as_transformers_describes_it(saved: Any) -> None:
    _, folder = saved("llama")
    ours, theirs = MlxEngine.load(folder), TransformersEngine.load(folder, device="cpu")
    assert ours.info == theirs.info
    assert ours.tokenizer.end_tokens == theirs.tokenizer.end_tokens == {tiny.END}
    assert MlxEngine.load(folder, context=10**6).capabilities.context == tiny.SMALL["max_position_embeddings"]


def test_logits_are_float32_numpy_and_read_only_whatever_the_weights_are(saved: Any) -> None:
    engine = MlxEngine.load(saved("llama")[1], dtype="bfloat16")
    assert engine.model.layers[0].self_attn.q_proj.weight.dtype == mx.bfloat16
    logits = engine.forward([(engine.open(), [1, 2])]).logits
    assert isinstance(logits, np.ndarray)
    assert (logits.dtype, logits.flags.writeable) == (np.float32, False)


def test_logits_outlive_the_next_forward(llama: MlxEngine) -> None:
    sequence = llama.open()
    first = llama.forward([(sequence, [5, 6])]).logits
    before = first.copy()
    llama.forward([(sequence, [7])])
    np.testing.assert_array_equal(first, before)


def test_a_model_whose_masks_know_no_rows_gets_a_call_for_each_row(saved: Any) -> None:
    """mlx-lm's gemma2 takes the rows of a mask for its groups of heads where there are as many."""
    engine = MlxEngine.load(saved("gemma2")[1], context=CONTEXT)
    widths: list[int] = []
    inside = engine.model

    def counted(tokens: Any, cache: Any) -> Any:
        widths.append(tokens.shape[0])
        return inside(tokens, cache=cache)

    engine.model = counted
    engine.forward([(engine.open(), [5, 6]), (engine.open(), [7])])
    assert widths == [1, 1, 1]
    with pytest.raises(CapabilityError, match="a gemma2 model of mlx-lm shows no attention"):
        engine.forward([(engine.open(), [5])], attention=True)


def test_rows_go_through_the_model_together(llama: MlxEngine) -> None:
    shapes: list[tuple[int, ...]] = []
    inside = llama.model

    def counted(tokens: Any, cache: Any) -> Any:
        shapes.append(tokens.shape)
        return inside(tokens, cache=cache)

    llama.model = counted
    rows = [llama.open() for _ in range(3)]
    llama.forward([(rows[0], [5, 6, 7]), (rows[1], [8, 9]), (rows[2], [10])])
    assert shapes == [(2, 2), (3, 1)]
    shapes.clear()
    llama.forward([(rows[2], list(range(30, 60))), (rows[0], [3])])
    assert shapes == [(1, 29), (2, 1)]


def test_padding_ends_within_the_context(llama: MlxEngine, saved: Any) -> None:
    long, short = llama.open(), llama.open()
    held = tokens_of(CONTEXT - 4)
    llama.forward([(long, held)])
    seen = llama.forward([(long, [5, 6, 7]), (short, [8, 9, 10, 11, 12])])
    model, _ = saved("llama")
    np.testing.assert_allclose(seen.logits[0], plain_logits(model, [*held, 5, 6, 7]), atol=2e-5)
    np.testing.assert_allclose(seen.logits[1], plain_logits(model, [8, 9, 10, 11, 12]), atol=2e-5)
    assert llama._cache.capacity == CONTEXT


def test_a_failed_forward_leaves_sequences_as_they_were(llama: MlxEngine, saved: Any) -> None:
    a, b = llama.open(), llama.open()
    llama.forward([(a, [11, 12]), (b, [13])])
    layer, calls = llama.model.layers[1], []
    inside = layer.self_attn

    def failing(*arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("out of memory")
        return inside(*arguments, **named)

    layer.self_attn = failing
    with pytest.raises(RuntimeError, match="out of memory"):
        llama.forward([(a, list(range(20))), (b, [14])])  # two model calls, the second fails
    layer.self_attn = inside
    assert (a.tokens, b.tokens) == ([11, 12], [13])
    seen = llama.forward([(b, [14]), (a, [15])])
    model, _ = saved("llama")
    np.testing.assert_allclose(seen.logits[1], plain_logits(model, [11, 12, 15]), atol=2e-5)
    np.testing.assert_allclose(seen.logits[0], plain_logits(model, [13, 14]), atol=2e-5)


def test_every_call_may_come_from_another_thread(saved: Any) -> None:
    model, folder = saved("qwen2")
    found: dict[str, Any] = {}

    def step(name: str, work: Callable[[], Any]) -> None:
        def run() -> None:
            found[name] = work()

        thread = threading.Thread(target=run)
        thread.start()
        thread.join(60)

    step("engine", lambda: MlxEngine.load(folder, dtype="float32", context=CONTEXT))
    engine = found["engine"]
    step("open", lambda: engine.open())
    step("first", lambda: engine.forward([(found["open"], [5, 6, 7])]))
    step("fork", lambda: engine.fork(found["open"])[0])
    step("second", lambda: engine.forward([(found["fork"], [8]), (found["open"], [9, 10])], attention=True))
    np.testing.assert_allclose(found["second"].logits[0], plain_logits(model, [5, 6, 7, 8]), atol=2e-5)
    np.testing.assert_allclose(found["second"].logits[1], plain_logits(model, [5, 6, 7, 9, 10]), atol=2e-5)


def test_the_owner_of_a_model_finds_it_as_it_was(saved: Any) -> None:
    model, tokenizer = mlx_lm.load(str(saved("llama")[1]))
    prompt = mx.array([[5, 6, 7]])
    before = np.array(model(prompt))
    engine = MlxEngine(model, tokenizer, context=CONTEXT)
    engine.forward([(engine.open(), [8, 9])], attention=True)
    np.testing.assert_array_equal(np.array(model(prompt)), before)
    engine.shutdown()
    with pytest.raises(ModelError, match="shut down"):
        engine.open()
    np.testing.assert_array_equal(np.array(model(prompt)), before)


def test_capacity_errors_come_before_anything_changes(saved: Any) -> None:
    engine = MlxEngine.load(saved("llama")[1], context=6, sequences=3, cells=9)
    a = engine.open()
    with pytest.raises(CapacityError, match="context of 6"):
        engine.forward([(a, [1] * 7)])
    engine.forward([(a, [1] * 5)])
    with pytest.raises(CapacityError, match="5 of 9 cells"):
        engine.fork(a)
    assert engine.cells_used() == 5


def test_values_out_of_range_are_refused(saved: Any) -> None:
    _, folder = saved("llama")
    with pytest.raises(ParameterError, match="0 to 3"):
        MlxEngine.load(folder, attention_layers=[4])
    with pytest.raises(ParameterError, match="sequences=0"):
        MlxEngine.load(folder, sequences=0)
    with pytest.raises(ModelError, match=r"dtype 'int8'.*float32, bfloat16, float16"):
        MlxEngine.load(folder, dtype="int8")
    with pytest.raises(ParameterError, match="the mlx engine has no option 'lora': mlx-lm loads adapters by"):
        load_engine(folder, "mlx", lora="x")


def test_a_recurrent_state_is_refused(saved: Any) -> None:
    with pytest.raises(ModelError, match=r"a mamba model keeps a state of another kind .*ArraysCache"):
        MlxEngine.load(saved("mamba")[1])


def test_a_model_that_does_not_take_the_cache_is_refused(saved: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection.RowCache, "current", lambda _: 1 / 0)
    with pytest.raises(ModelError, match=r"does not run with the engine's cache \(ZeroDivisionError"):
        MlxEngine.load(saved("llama")[1])


def test_models_that_cannot_be_read_are_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saved: Any) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match="there is no directory"):
        MlxEngine.load(tmp_path / "nowhere")
    with pytest.raises(ModelError, match=r"no config\.json"):
        MlxEngine.load(tmp_path)
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelError, match="is a GGUF file, which mlx-lm does not load; load it with --engine llama_cpp"):
        MlxEngine.load(tmp_path / "model.gguf")
    with pytest.raises(ModelError, match=r"mlx engine loads model directories and .*; it is for --engine llama_cpp"):
        load_engine(tmp_path / "model.gguf", "mlx")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelError, match=r"no model\*\.safetensors"):
        MlxEngine.load(tmp_path)
    mx.save_safetensors(str(tmp_path / "model.safetensors"), {"weight": mx.zeros(1)})
    with pytest.raises(ModelError, match="is no text generator but an encoder"):
        MlxEngine.load(tmp_path)
    for written, said in (
        ('{"model_type": "unheard-of"}', "Model type unheard-of not supported"),
        ("{", "cannot be read"),
    ):
        (tmp_path / "config.json").write_text(written)
        with pytest.raises(ModelError, match=said):
            MlxEngine.load(tmp_path)
    with pytest.raises(ModelError, match="neither a directory here nor a model that can be fetched"):
        MlxEngine.load("organisation/model")


def test_damaged_weights_are_explained(tmp_path: Path, saved: Any) -> None:
    model, _ = saved("llama")
    weights = tiny.save(model, tmp_path) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"cannot be read: .*damaged or incomplete"):
        MlxEngine.load(tmp_path)
    short = {name: value for name, value in model.state_dict().items() if "layers.3.mlp" not in name}
    model.save_pretrained(tmp_path, state_dict=short)
    with pytest.raises(ModelError, match="Missing 3 parameters"):
        MlxEngine.load(tmp_path)


def test_an_architecture_that_ends_the_process_is_an_error(tmp_path: Path) -> None:
    """mlx-lm's olmo calls sys.exit where a package is missing."""
    tiny.save(tiny.random_model(transformers.OlmoConfig(**tiny.SMALL)), tmp_path)
    with pytest.raises(ModelError, match="needs a package that is not here"):
        MlxEngine.load(tmp_path)


def test_weights_quantised_by_mlx_lm_are_for_this_engine_by_themselves(tmp_path: Path, saved: Any) -> None:
    _, folder = saved("llama")
    quantised = tmp_path / "quantised"
    mlx_lm.convert(str(folder), str(quantised), quantize=True, q_group_size=32, q_bits=8)
    assert resolve(quantised) == ("mlx", str(quantised))
    model = entropix.load(quantised, context=CONTEXT)
    whole = MlxEngine.load(folder, context=CONTEXT)
    seen = [engine.forward([(engine.open(), [5, 6, 7])]).logits for engine in (model.engine, whole)]
    assert 0 < np.abs(seen[0] - seen[1]).max() < 0.2 * seen[1].std()
    with pytest.raises(ModelError, match=r"transformers engine loads .*; it is for --engine mlx"):
        entropix.load(quantised, engine="transformers")
    assert resolve("mlx-community/SmolLM2-135M-Instruct") == ("mlx", "mlx-community/SmolLM2-135M-Instruct")


def test_the_command_line_decodes_with_it(saved: Any, capfd: pytest.CaptureFixture[str]) -> None:
    _, folder = saved("llama")
    asked = ["generate", "-q", "-n", "8", "--policy", "greedy", "Hi", "-m", str(folder), "--engine"]
    texts = []
    for engine in ("mlx", "transformers"):
        assert main([*asked, engine]) == 0
        texts.append(capfd.readouterr().out)
    assert texts[0] == texts[1]
    assert texts[0].strip()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, {}),
        ({"rope_theta": 5.0, "rope_parameters": {"rope_theta": 7.0}}, {}),
        ({"rope_parameters": {"rope_theta": 7.0, "rope_type": "default"}}, {"rope_theta": 7.0}),
        (
            {"rope_parameters": {"rope_theta": 7.0, "rope_type": "linear", "factor": 2.0}},
            {"rope_theta": 7.0, "rope_scaling": {"rope_theta": 7.0, "rope_type": "linear", "factor": 2.0}},
        ),
        (
            {"rope_parameters": {"full_attention": {"rope_theta": 7.0}, "sliding_attention": {"rope_theta": 3.0}}},
            {"rope_theta": 7.0, "rope_local_base_freq": 3.0},
        ),
    ],
)
def test_rotary_settings_of_transformers_5_reach_mlx_lm(settings: dict[str, Any], told: dict[str, Any]) -> None:
    assert rotary(settings) == told


def test_importing_it_leaves_the_limit_of_open_files() -> None:
    code = (
        "import json, resource, sys; before = resource.getrlimit(resource.RLIMIT_NOFILE); import entropix.engines.mlx; "
        "assert 'mlx_lm' in sys.modules; print(json.dumps([before, resource.getrlimit(resource.RLIMIT_NOFILE)]))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    before, after = json.loads(ran.stdout)
    assert before == after
