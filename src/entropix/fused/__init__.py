"""Triton kernels in the place of many array operations, for torch tensors on a GPU.

A function that is decorated with `fused` stays what it was. Where its arguments lie on a GPU and Triton is at hand, as
it is wherever vLLM runs on one, the kernel of the same name in `entropix.fused.kernels` answers instead: a launch or
two, and each logit read or written once. Before a kernel is used on a device, and again for another order of width, it
is compared there with the array operations; one that raises or differs is never used again. ENTROPIX_FUSED=0 in the
environment leaves all of them out.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

SWITCH = "ENTROPIX_FUSED"

DEVICES = frozenset({"cuda", "xpu"})
"""Types of device on which Triton is used. torch calls AMD's `cuda`, too."""

Trials = Iterable[tuple[Any, ...]]
F = TypeVar("F", bound=Callable[..., Any])
log = logging.getLogger(__name__)


def fused(trials: Callable[..., Trials], *, exact: bool = False, most: int = 1 << 24) -> Callable[[F], F]:
    """Give a function of arrays a kernel, which is named as it is.

    trials: from arguments as the function gets them, NumPy arrays to try the kernel on. What comes out must be within
    1e-3 relative or 1e-6 absolute of the function on the host in float64, or the same if `exact`. most: columns that
    the kernel can take.
    """

    def decorate(function: F) -> F:
        kernel = Kernel(function, trials, exact, most)

        @functools.wraps(function)
        def either(*arrays: Any) -> Any:
            return kernel(*arrays) if kernel.fits(arrays) else function(*arrays)

        either.kernel = kernel  # type: ignore[attr-defined]
        return either  # type: ignore[return-value]

    return decorate


class Kernel:
    """A kernel and what is known of it: where it was tried, and where it failed."""

    def __init__(self, plain: Callable[..., Any], trials: Callable[..., Trials], exact: bool, most: int) -> None:
        self.plain, self.trials, self.exact, self.most = plain, trials, exact, most
        self.name = plain.__name__.lstrip("_")
        self.tried: dict[tuple[Any, ...], bool] = {}
        self.failed: set[Any] = set()

    def __call__(self, *arrays: Any) -> Any:
        return getattr(library(), self.name)(*arrays)

    def fits(self, arrays: tuple[Any, ...]) -> bool:
        """Whether the kernel answers for these arguments; the first time, by trying it, for which the host waits."""
        first = arrays[0]
        device: Any = getattr(first, "device", None)
        if getattr(device, "type", None) not in DEVICES or device in self.failed or library() is None:
            return False
        torch = sys.modules["torch"]
        for array in arrays:
            if type(array) is not torch.Tensor or array.device != device or array.requires_grad:
                return False
            if array.is_floating_point() and array.dtype not in (torch.float32, torch.bfloat16, torch.float16):
                return False
            if array.shape[0] == 0 or (array.stride(-1) != 1 and array.shape[-1] != 1):
                return False
            if array.ndim > 2 or (array.ndim == 2 and not 0 < array.shape[1] <= self.most):
                return False
        if device.index not in (None, getattr(torch, device.type).current_device()):
            return False  # Triton launches on the current device
        # widths that are compiled as one are tried as one
        key = (device, *((array.dtype, *((n - 1).bit_length() for n in array.shape[1:])) for array in arrays))
        found = self.tried.get(key)
        if found is None:
            if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
                return False  # nothing may wait now: try it another time
            found = self.tried[key] = self.works(torch, arrays)
        return found

    def works(self, torch: Any, arrays: tuple[Any, ...]) -> bool:
        """Compare kernel and array operations where `arrays` lie. A failure holds for the device."""
        device = arrays[0].device
        try:
            for trial in self.trials(*arrays):
                there = [
                    torch.from_numpy(values).to(device=device, dtype=array.dtype)
                    for values, array in zip(trial, arrays, strict=True)
                ]
                here = [tensor.to("cpu", copy=True) for tensor in there]
                wanted = self.plain(*(tensor.double() if tensor.is_floating_point() else tensor for tensor in here))
                wrong = self.differs(torch, self(*there), wanted)
                if wrong:
                    raise ArithmeticError(wrong)
        except Exception as e:  # compilers and drivers raise what they like, and arrays do without them
            self.failed.add(device)
            reason = " ".join(str(e).split())[:300]
            log.warning("the kernel %s is not used on %s: %s: %s", self.name, device, type(e).__name__, reason)
            return False
        return True

    def differs(self, torch: Any, got: Any, wanted: Any) -> str:
        """What is wrong with `got`, "" for nothing."""
        pairs = zip(got, wanted, strict=True) if isinstance(wanted, tuple) else [(got, wanted)]
        for n, (tensor, reference) in enumerate(pairs):
            tensor = tensor.cpu()
            if tensor.shape != reference.shape:
                return f"result {n} has the shape {tuple(tensor.shape)} instead of {tuple(reference.shape)}"
            same = tensor == reference
            if reference.is_floating_point():
                tensor = tensor.double()
                same |= tensor.isnan() & reference.isnan()
                if not self.exact:
                    error = (tensor - reference).abs()
                    same |= (error <= 1e-6) | (error <= 1e-3 * reference.abs())
            if not bool(same.all()):
                place = tuple(int(i) for i in (~same).nonzero()[0])
                return f"result {n} is {tensor[place].item()} at {place}, {reference[place].item()} by array operations"
        return ""


@functools.cache
def library() -> Any:
    """The module of the kernels, None where they cannot be or are not to be used."""
    if os.environ.get(SWITCH, "1").strip().lower() in ("0", "off", "false", "no"):
        return None
    try:
        import triton  # noqa: F401
    except ImportError:
        return None
    try:
        from entropix.fused import kernels as module
    except Exception as e:
        log.warning("Triton is installed and does not work; kernels are not used: %s: %s", type(e).__name__, e)
        return None
    return module
