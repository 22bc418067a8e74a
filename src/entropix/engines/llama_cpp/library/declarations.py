"""The part of llama.cpp's C API that is used here: functions and structs, after `llama.h`, `ggml.h` and `gguf.h`."""

from __future__ import annotations

import ctypes
from ctypes import c_bool, c_char_p, c_float, c_int, c_int32, c_int64, c_size_t, c_uint32, c_void_p
from typing import Any

LogCallback = ctypes.CFUNCTYPE(None, c_int, c_char_p, c_void_p)
"""ggml_log_callback: (level, text, user data)."""
EvalCallback = ctypes.CFUNCTYPE(c_bool, c_void_p, c_bool, c_void_p)
"""ggml_backend_sched_eval_callback: (tensor, ask, user data) → bool."""


class ModelParams(ctypes.Structure):
    """`llama_model_params` of the pinned version."""

    _fields_ = (
        ("devices", c_void_p),
        ("tensor_buft_overrides", c_void_p),
        ("n_gpu_layers", c_int32),
        ("split_mode", c_int),
        ("load_mode", c_int),
        ("lazy_mode", c_int),
        ("main_gpu", c_int32),
        ("tensor_split", c_void_p),
        ("progress_callback", c_void_p),
        ("progress_callback_user_data", c_void_p),
        ("kv_overrides", c_void_p),
        ("vocab_only", c_bool),
        ("check_tensors", c_bool),
        ("use_extra_bufts", c_bool),
        ("no_host", c_bool),
        ("no_alloc", c_bool),
        ("load_mtp", c_bool),
    )


class ContextParams(ctypes.Structure):
    """`llama_context_params` of the pinned version."""

    _fields_ = (
        ("n_ctx", c_uint32),
        ("n_batch", c_uint32),
        ("n_ubatch", c_uint32),
        ("n_seq_max", c_uint32),
        ("n_rs_seq", c_uint32),
        ("n_outputs_max", c_uint32),
        ("n_outputs_max_per_seq", c_uint32),
        ("n_threads", c_int32),
        ("n_threads_batch", c_int32),
        ("ctx_type", c_int),
        ("rope_scaling_type", c_int),
        ("pooling_type", c_int),
        ("attention_type", c_int),
        ("flash_attn_type", c_int),
        ("rope_freq_base", c_float),
        ("rope_freq_scale", c_float),
        ("yarn_ext_factor", c_float),
        ("yarn_attn_factor", c_float),
        ("yarn_beta_fast", c_float),
        ("yarn_beta_slow", c_float),
        ("yarn_orig_ctx", c_uint32),
        ("defrag_thold", c_float),
        ("cb_eval", EvalCallback),
        ("cb_eval_user_data", c_void_p),
        ("type_k", c_int),
        ("type_v", c_int),
        ("moe_cache_size", c_size_t),
        ("abort_callback", c_void_p),
        ("abort_callback_data", c_void_p),
        ("embeddings", c_bool),
        ("offload_kqv", c_bool),
        ("no_perf", c_bool),
        ("op_offload", c_bool),
        ("swa_full", c_bool),
        ("kv_unified", c_bool),
        ("samplers", c_void_p),
        ("n_samplers", c_size_t),
        ("ctx_other", c_void_p),
    )


class LlamaBatch(ctypes.Structure):
    """`llama_batch`: its pointers are addresses of int32, float, int32, int32, lists of int32, and int8."""

    _fields_ = (
        ("n_tokens", c_int32),
        ("token", c_void_p),
        ("embd", c_void_p),
        ("pos", c_void_p),
        ("n_seq_id", c_void_p),
        ("seq_id", c_void_p),
        ("logits", c_void_p),
    )


class GgufParams(ctypes.Structure):
    """`gguf_init_params`."""

    _fields_ = (("no_alloc", c_bool), ("context", c_void_p))


MODEL_DEFAULTS: dict[str, float] = dict.fromkeys((n for n, _ in ModelParams._fields_), 0.0) | {
    "n_gpu_layers": -1,
    "split_mode": 1,
    "load_mode": -1,
    "lazy_mode": 1,
    "use_extra_bufts": 1,
}
CONTEXT_DEFAULTS: dict[str, float] = dict.fromkeys((n for n, _ in ContextParams._fields_), 0.0) | {
    "n_ctx": 512,
    "n_batch": 2048,
    "n_ubatch": 512,
    "n_seq_max": 1,
    "n_outputs_max_per_seq": 1,
    "n_threads": 4,
    "n_threads_batch": 4,
    **dict.fromkeys(("rope_scaling_type", "pooling_type", "attention_type", "flash_attn_type"), -1.0),
    **dict.fromkeys(("yarn_ext_factor", "yarn_attn_factor", "yarn_beta_fast", "yarn_beta_slow", "defrag_thold"), -1.0),
    "type_k": 1,
    "type_v": 1,
    **dict.fromkeys(("offload_kqv", "no_perf", "op_offload", "swa_full"), 1.0),
}
"""What llama_*_default_params return. A struct of another layout shows other values under these names."""

VOCAB_INT = (c_int32, c_void_p)
MODEL_INT = (c_int32, c_void_p)
MODEL_BOOL = (c_bool, c_void_p)
GGUF_KEY = (c_void_p, c_int64)

FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "llama_backend_init": (None,),
    "llama_log_set": (None, LogCallback, c_void_p),
    "llama_print_system_info": (c_char_p,),
    "llama_supports_gpu_offload": (c_bool,),
    "llama_batch_init": (LlamaBatch, c_int32, c_int32, c_int32),
    "llama_batch_free": (None, LlamaBatch),
    "llama_model_free": (None, c_void_p),
    "llama_model_get_vocab": (c_void_p, c_void_p),
    "llama_model_has_encoder": MODEL_BOOL,
    "llama_model_has_decoder": MODEL_BOOL,
    "llama_model_is_diffusion": MODEL_BOOL,
    "llama_model_is_recurrent": MODEL_BOOL,
    "llama_model_is_hybrid": MODEL_BOOL,
    "llama_model_n_ctx_train": MODEL_INT,
    "llama_model_n_embd": MODEL_INT,
    "llama_model_n_head": MODEL_INT,
    "llama_model_n_layer": MODEL_INT,
    "llama_model_n_swa": MODEL_INT,
    "llama_model_meta_val_str": (c_int32, c_void_p, c_char_p, c_char_p, c_size_t),
    "llama_free": (None, c_void_p),
    "llama_set_n_threads": (None, c_void_p, c_int32, c_int32),
    "llama_n_ctx": (c_uint32, c_void_p),
    "llama_decode": (c_int32, c_void_p, LlamaBatch),
    "llama_get_logits": (c_void_p, c_void_p),
    "llama_get_memory": (c_void_p, c_void_p),
    "llama_memory_clear": (None, c_void_p, c_bool),
    "llama_memory_seq_rm": (c_bool, c_void_p, c_int32, c_int32, c_int32),
    "llama_memory_seq_cp": (None, c_void_p, c_int32, c_int32, c_int32, c_int32),
    "llama_memory_seq_pos_max": (c_int32, c_void_p, c_int32),
    "llama_vocab_n_tokens": VOCAB_INT,
    "llama_vocab_bos": VOCAB_INT,
    "llama_vocab_eos": VOCAB_INT,
    "llama_vocab_get_add_bos": (c_bool, c_void_p),
    "llama_vocab_is_eog": (c_bool, c_void_p, c_int32),
    "llama_vocab_get_attr": (c_int, c_void_p, c_int32),
    "llama_vocab_get_text": (c_char_p, c_void_p, c_int32),
    "llama_tokenize": (c_int32, c_void_p, c_char_p, c_int32, c_void_p, c_int32, c_bool, c_bool),
    "llama_token_to_piece": (c_int32, c_void_p, c_int32, c_char_p, c_int32, c_int32, c_bool),
    "ggml_get_name": (c_void_p, c_void_p),
    "ggml_op_name": (c_char_p, c_int),
    "ggml_backend_buffer_is_host": (c_bool, c_void_p),
    "ggml_backend_tensor_get": (None, c_void_p, c_void_p, c_size_t, c_size_t),
    "gguf_init_from_file": (c_void_p, c_char_p, GgufParams),
    "gguf_free": (None, c_void_p),
    "gguf_find_key": (c_int64, c_void_p, c_char_p),
    "gguf_get_n_tensors": (c_int64, c_void_p),
    "gguf_get_kv_type": (c_int, *GGUF_KEY),
    "gguf_get_val_str": (c_char_p, *GGUF_KEY),
    "gguf_get_val_bool": (c_bool, *GGUF_KEY),
    "gguf_get_val_u8": (ctypes.c_uint8, *GGUF_KEY),
    "gguf_get_val_i8": (ctypes.c_int8, *GGUF_KEY),
    "gguf_get_val_u16": (ctypes.c_uint16, *GGUF_KEY),
    "gguf_get_val_i16": (ctypes.c_int16, *GGUF_KEY),
    "gguf_get_val_u32": (ctypes.c_uint32, *GGUF_KEY),
    "gguf_get_val_i32": (ctypes.c_int32, *GGUF_KEY),
    "gguf_get_val_u64": (ctypes.c_uint64, *GGUF_KEY),
    "gguf_get_val_i64": (ctypes.c_int64, *GGUF_KEY),
}
"""Name → (result, *arguments). Handles are addresses: a null one is None."""

OPTIONAL: dict[str, tuple[Any, ...]] = {
    "llama_version": (c_char_p,),
    "llama_adapter_lora_init": (c_void_p, c_void_p, c_char_p),
    "llama_adapter_get_alora_n_invocation_tokens": (ctypes.c_uint64, c_void_p),
    "llama_set_adapters_lora": (c_int32, c_void_p, c_void_p, c_size_t, c_void_p),
    "llama_model_rope_type": (c_int, c_void_p),
    "ggml_cpu_has_amx_int8": (c_int,),  # in builds that link their CPU code
}
