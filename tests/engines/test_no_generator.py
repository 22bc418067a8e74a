"""B9: what generates no text is refused when it is loaded, with one message: never an empty answer or an abort."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("gguf")
import gguf

from entropix import load
from entropix.cli import main
from entropix.engines.llama_cpp import LlamaCppEngine
from entropix.errors import ModelError
from helpers.llama import needs_llama_cpp

needs_llama_cpp()

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"▁w{n}" for n in range(27))]


def write(path: Path, architecture: str, keys: Callable[[Any], None] = lambda _: None, tensors: Any = None) -> Path:
    writer = gguf.GGUFWriter(path, architecture)
    keys(writer)
    for name, array in (tensors if tensors is not None else {"token_embd.weight": np.zeros((4, 4), "f")}).items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def tiny_bert(path: Path) -> Path:
    """An encoder that llama.cpp loads: one layer of random weights."""
    width, inner, words, random = 32, 64, len(WORDS), np.random.default_rng(0)

    def keys(writer: Any) -> None:
        writer.add_context_length(64)
        writer.add_embedding_length(width)
        writer.add_feed_forward_length(inner)
        writer.add_block_count(1)
        writer.add_head_count(2)
        writer.add_layer_norm_eps(1e-12)
        writer.add_token_type_count(2)
        writer.add_causal_attention(False)
        writer.add_pooling_type(gguf.PoolingType.MEAN)
        writer.add_tokenizer_model("bert")
        writer.add_token_list(WORDS)
        writer.add_token_types([gguf.TokenType.CONTROL] * 5 + [gguf.TokenType.NORMAL] * (words - 5))
        writer.add_unk_token_id(1)
        writer.add_sep_token_id(3)
        writer.add_pad_token_id(0)
        writer.add_uint32("tokenizer.ggml.cls_token_id", 2)

    def made(*shape: int) -> Any:
        return random.normal(size=shape).astype("f") * np.float32(0.1)

    tensors = {"token_embd.weight": made(words, width), "token_types.weight": made(2, width)}
    tensors |= {"position_embd.weight": made(64, width), "token_embd_norm.weight": np.ones(width, "f")}
    tensors["token_embd_norm.bias"] = np.zeros(width, "f")
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        tensors |= {f"blk.0.{name}.weight": made(width, width), f"blk.0.{name}.bias": np.zeros(width, "f")}
    for name in ("attn_output_norm", "layer_output_norm"):
        tensors |= {f"blk.0.{name}.weight": np.ones(width, "f"), f"blk.0.{name}.bias": np.zeros(width, "f")}
    tensors |= {"blk.0.ffn_up.weight": made(inner, width), "blk.0.ffn_up.bias": np.zeros(inner, "f")}
    tensors |= {"blk.0.ffn_down.weight": made(width, inner), "blk.0.ffn_down.bias": np.zeros(width, "f")}
    return write(path, "bert", keys, tensors)


def typed(kind: str) -> Callable[[Any], None]:
    return lambda writer: writer.add_type(kind)


def pooled(kind: Any) -> Callable[[Any], None]:
    return lambda writer: writer.add_pooling_type(kind)


CASES: dict[str, tuple[str, Callable[[Any], None], Any, str]] = {
    "nomic": ("nomic-bert", lambda w: w.add_causal_attention(False), None, "an encoder"),
    "modern": ("modern-bert", lambda _: None, None, "an encoder"),
    "t5": ("t5", lambda _: None, None, "an encoder-decoder"),
    "t5encoder": ("t5encoder", lambda _: None, None, "an encoder"),
    "gemma-embedding": ("gemma-embedding", lambda _: None, None, "an embedding model"),
    "causal-embedding": ("qwen3", pooled(gguf.PoolingType.LAST), None, "an embedding model"),
    "reranker": ("qwen3", pooled(gguf.PoolingType.RANK), None, "a classifier or reranker"),
    "classifier": ("llama", lambda w: w.add_classifier_output_labels(["no", "yes"]), None, "a classifier or reranker"),
    "not-causal": ("llada", lambda w: w.add_causal_attention(False), None, "no causal model"),
    "mmproj": ("clip", typed("mmproj"), None, "the projector"),
    "clip": ("clip", lambda _: None, None, "the projector"),
    "lora": ("llama", typed("adapter"), None, "an adapter"),
    "vocabulary": ("llama", typed("vocab"), {}, "a vocabulary"),
    "no-tensors": ("llama", lambda _: None, {}, "a vocabulary"),
    "imatrix": ("llama", typed("imatrix"), None, "an importance matrix"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_gguf_file_that_is_no_text_generator_is_named_for_what_it_is(tmp_path: Path, name: str) -> None:
    architecture, keys, tensors, what = CASES[name]
    file = write(tmp_path / f"{name}.gguf", architecture, keys, tensors)
    with pytest.raises(ModelError, match=f"is no text generator but {what}"):
        LlamaCppEngine(file)


@pytest.mark.parametrize(
    "command", [["generate", "-q", "-n", "3", "Hi", "-m"], ["calibrate", "-q"], ["chat", "-q", "-m"]]
)
def test_an_encoder_gets_one_message_and_exit_code_2(
    tmp_path: Path, command: list[str], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tiny_bert(tmp_path / "bert.gguf")
    assert main([*command, str(file)]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err == f"entropix: {file} is no text generator but an encoder, which reads text and writes none; " + (
        "give a decoder-only language model\n"
    )
    assert not list(tmp_path.rglob("*.json")), "a profile was written"


def test_a_model_whose_context_is_empty_is_told_to_be_converted_again(tmp_path: Path, smollm2: Path) -> None:
    reader = gguf.GGUFReader(smollm2)
    field = reader.get_field("llama.context_length")
    file = tmp_path / "empty.gguf"
    file.write_bytes(smollm2.read_bytes())
    with file.open("r+b") as stream:
        stream.seek(field.offset + sum(part.nbytes for part in field.parts[:-1]))
        stream.write(bytes(4))
    with pytest.raises(ModelError, match=r"its context holds no token.*convert the model again"):
        load(file)


TINY = {"vocab_size": 64, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}


def directories() -> dict[str, tuple[str, str, dict[str, Any], str]]:
    """By name: the classes of configuration and model, settings, and what the message says."""
    t5 = {"vocab_size": 64, "d_model": 16, "d_ff": 32, "num_layers": 1, "num_heads": 2, "d_kv": 8}
    bart = {"vocab_size": 64, "d_model": 16, "encoder_layers": 1, "decoder_layers": 1}
    return {
        "bert": ("BertConfig", "BertModel", TINY, "an encoder"),
        "bert-mlm": ("BertConfig", "BertForMaskedLM", TINY, "an encoder"),
        "roberta": ("RobertaConfig", "RobertaForMaskedLM", TINY, "an encoder"),
        "distilbert": (
            "DistilBertConfig",
            "DistilBertModel",
            {"vocab_size": 64, "dim": 16, "n_layers": 1, "n_heads": 2},
            "",
        ),
        "t5": ("T5Config", "T5ForConditionalGeneration", t5, "an encoder-decoder"),
        "bart": ("BartConfig", "BartForConditionalGeneration", bart, "an encoder-decoder"),
        "clip": ("CLIPConfig", "CLIPModel", {}, "saved as CLIPModel"),
        "embedding": ("LlamaConfig", "LlamaModel", TINY, "saved as LlamaModel"),
        "reranker": ("LlamaConfig", "LlamaForSequenceClassification", TINY, "saved as LlamaForSequenceClassification"),
    }


@pytest.mark.parametrize("name", directories())
def test_a_transformers_directory_that_is_no_text_generator_is_named_for_what_it_is(
    tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    transformers = pytest.importorskip("transformers")
    configuration, model, settings, what = directories()[name]
    config = getattr(transformers, configuration)(**settings)
    config.architectures = [model]
    config.save_pretrained(tmp_path)  # weights are never looked at
    assert main(["generate", "-q", "-n", "3", "-m", str(tmp_path), "Hi"]) == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert f"is no text generator but {what}" in err


def test_an_encoder_that_is_already_loaded_is_refused() -> None:
    transformers = pytest.importorskip("transformers")
    from entropix.engines.transformers import TransformersEngine

    model = transformers.BertLMHeadModel(transformers.BertConfig(**TINY)).eval()
    with pytest.raises(ModelError, match="is an encoder"):
        TransformersEngine(model, None)
