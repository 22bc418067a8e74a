"""What commands that decode share: loading a model, following a stream, Ctrl-C."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any

from rich.text import Text

from entropix.cli.output import Screen, may_move
from entropix.errors import EntropixError
from entropix.trace import TraceWriter, make_header
from entropix.trace.terminal import visible
from entropix.types import Result, Step

if TYPE_CHECKING:
    from entropix.cli.sampling import Sampling
    from entropix.model import Model, Stream


LONG = 1000
"""Tokens of prompts from which on it is worth saying how many of them have been read."""


@dataclass
class Interrupt:
    """Whether the user has asked to stop."""

    requested: bool = False


@contextlib.contextmanager
def interruptible() -> Iterator[Interrupt]:
    """Within, the first Ctrl-C is a request that the token in the making is finished first, so that nothing is
    left half done; the second is an ordinary KeyboardInterrupt."""
    interrupt = Interrupt()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if interrupt.requested:
            raise KeyboardInterrupt
        interrupt.requested = True

    # handlers belong to the main thread, and a shell that starts us in the background has Ctrl-C ignored
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        yield interrupt
        return
    previous = signal.signal(signal.SIGINT, on_signal)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, previous)


@contextlib.contextmanager
def loaded(args: argparse.Namespace, screen: Screen, name: str, **options: Any) -> Iterator[Model]:
    """The model `name`, loaded as the command's options and these say, and closed afterwards."""
    import entropix
    from entropix import models

    models.bring(name, args.engine)
    waiting: Any = contextlib.nullcontext()
    if may_move(screen):
        waiting = screen.err.status(Text(f"loading {visible(name)}"))
    # a KeyboardInterrupt inside a runtime's callback would be swallowed there, and the answer would go on
    with interruptible() as interrupt, stdout_to_stderr(), waiting:
        model = entropix.load(
            name,
            engine=args.engine,
            context=args.context,
            profile=getattr(args, "profile", None),
            threads=args.threads,
            device=args.device,
            gpu_layers=args.gpu_layers,
            flash_attention=args.flash_attention,
            kv_type=args.kv_type,
            batch=args.batch,
            lora=args.lora,
            rope_scaling=args.rope_scaling,
            rope_freq_base=args.rope_freq_base,
            **options,
        )
    with model:
        if interrupt.requested:
            raise KeyboardInterrupt
        yield model


@contextlib.contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Whatever is printed within, also by libraries below Python, goes to standard error."""
    sys.stdout.flush()
    try:
        kept = os.dup(1)
    except OSError:  # there is no standard output
        yield
        return
    try:
        with contextlib.suppress(OSError):
            os.dup2(2, 1)
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def header_of(model: Model, args: argparse.Namespace, sampling: Sampling, prompts: list[Any]) -> dict[str, Any]:
    """The header of a trace of this run."""
    header = make_header(
        model=model.info.name,
        fingerprint=model.info.fingerprint,
        engine=type(model.engine).__name__,
        policy=args.policy.partition(":")[0],
        parameters=sampling.all,
        seed=args.seed,
        profile=model.profile.name,
        thresholds=model.profile.thresholds,
        prompts=prompts,
        notes=model.notes,
    )
    if sampling.filters:
        header["filters"] = sampling.filters
    if sampling.repetition:
        header["repetition"] = sampling.repetition
    return {**header, "reproducible": True} if getattr(args, "reproducible", False) else header


def reading(stream: Stream) -> str:
    """How much of its prompts has been read; "" where that is soon done, or has been."""
    read, of = stream.prefilled
    return f"reading the prompt: {read:,} of {of:,} tokens" if of > LONG else ""


class PromptLine:
    """A line on the terminal that says how much of long prompts has been read. It goes away for good with `end`."""

    def __init__(self, screen: Screen | None) -> None:
        """screen: None shows nothing, as does one without a terminal."""
        self.status = screen.err.status(Text()) if screen is not None and may_move(screen) else None

    def show(self, stream: Stream) -> None:
        if self.status is not None and (said := reading(stream)):
            self.status.update(Text(said))
            self.status.start()

    def end(self) -> None:
        if self.status is not None:
            self.status.stop()
            self.status = None


def follow(
    stream: Stream,
    interrupt: Interrupt,
    show: Callable[[int, Step], None],
    writer: TraceWriter | None = None,
    first: int = 0,
    screen: Screen | None = None,
) -> list[Result]:
    """Iterate to the end or to Ctrl-C, showing and tracing every step; the results, also of what was stopped.

    `first` is the number of the first answer in the trace. Whatever ends the stream, the trace gets the results. An
    answer that fails is a result, too, with what was said; `stream.failures` has the error. screen: where the progress
    of a long prompt is shown, if nothing else moves there.
    """
    watched = stream.watch
    line = PromptLine(screen)

    def go_on() -> bool:
        # a search may hold tokens back for long; Ctrl-C must not wait for the next one
        line.show(stream)
        return (watched is None or watched()) and not interrupt.requested

    stream.watch = go_on
    try:
        for token in stream:
            line.end()
            if writer:
                writer.step(first + token.index, token.step)
            show(token.index, token.step)
            if interrupt.requested:
                break
    except EntropixError:
        if not stream.failures:
            raise
    finally:
        line.end()
        stream.close()
        results = list(stream.results)
        if writer:
            for n, result in enumerate(results):
                writer.result(first + n, result)
    return results


def close_trace(writer: TraceWriter | None) -> int:
    """Close a trace; 2 and a message if it could not be written to its end."""
    from entropix.cli import fail

    if writer is None:
        return 0
    try:
        writer.close()
    except EntropixError as error:
        return fail(error)
    return 0
