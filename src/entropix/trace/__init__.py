"""Step records on disk and on the terminal. Rendering needs no model."""

from entropix.trace.jsonl import (
    SCHEMA,
    Answer,
    Trace,
    TraceWriter,
    check_writable,
    make_header,
    read_trace,
)
from entropix.trace.records import result_record, step_record, thresholds_record, to_json

__all__ = [
    "SCHEMA",
    "Answer",
    "Trace",
    "TraceWriter",
    "check_writable",
    "make_header",
    "read_trace",
    "result_record",
    "step_record",
    "thresholds_record",
    "to_json",
]
