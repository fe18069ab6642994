"""Registered models as modules: built from a size and a seed, measured, matched in size."""

import contextlib
import functools
import inspect
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from kbench.errors import KbenchError
from kbench.registry import Entry


def build(
    entry: Entry,
    vocab_size: int,
    max_len: int,
    size: Mapping[str, Any],
    *,
    backend: str = "torch",
    seed: int = 1,
) -> nn.Module:
    """The model, initialised by the seed, on the CPU. Only models with a choice see `backend`."""
    choice = {} if backend == "torch" else {"backend": backend}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return entry.cls(vocab_size, max_len, **size, **choice)


@torch.no_grad()
def lengthened(short: nn.Module, long: nn.Module) -> nn.Module:
    """`long`, built for more tokens, with all that `short` has learned.

    What only the longer one has, such as positions that `short` never saw, stays as initialised.
    Tables must grow at their ends. Of those that do not, such as offsets from the last token,
    `kbench.training.conformance.not_lengthened` tells.
    """
    learned = short.state_dict()
    for name, tensor in long.state_dict().items():
        if name not in learned:
            continue
        common = tuple(map(slice, map(min, tensor.shape, learned[name].shape)))
        tensor[common] = learned[name][common]
    return long


def backends(entry: Entry) -> tuple[str, ...]:
    """The backends that a model can be built with: torch, which runs anywhere, then kernels."""
    return getattr(entry.cls, "backends", ("torch",))


def parameter_count(model: nn.Module) -> int:
    """Numbers that training changes."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


@torch.no_grad()
def state_size(model: Any, vocab_size: int, max_len: int) -> tuple[int, int] | None:
    """Numbers kept per sequence, as a + b T of the T tokens read: (a, b).

    Counted in the states that `extend` returns after some and after twice as many tokens; None for
    a model without it.
    """
    if not has_extend(model):
        return None
    T = max(max_len // 2, 1)
    tokens_BT = (torch.arange(2 * T) % vocab_size).unsqueeze(0)
    few, many = (
        sum(map(_numbers, tree_leaves(model.extend(tokens_BT[:, :t])[1]))) for t in (T, 2 * T)
    )
    return few - (many - few), (many - few) // T


def has_extend(model: nn.Module) -> bool:
    """Does the model go on from a state? `nn.Sequential` has an `extend` that means another."""
    extend = getattr(type(model), "extend", None)
    return extend is not None and not extend.__module__.startswith("torch.")


def answers_at(model: nn.Module) -> bool:
    """Can the model be asked at some positions only, by `forward(tokens_BT, at_P)`?"""
    return "at_P" in inspect.signature(type(model).forward).parameters


def _numbers(leaf: Any) -> int:
    return leaf.numel() if isinstance(leaf, Tensor) else int(leaf is not None)


_MOVES = {"clone", "copy_", "_to_copy", "fill_", "zero_", "lift_fresh", "detach"}
"""Pointwise operations that compute nothing."""
_REDUCTIONS = {
    "sum", "mean", "_softmax", "_log_softmax", "cumsum", "cumprod", "prod", "amax", "amin",
    "native_layer_norm", "native_group_norm", "native_batch_norm", "linalg_vector_norm", "var",
    "logsumexp", "linalg_solve_triangular", "_fused_rms_norm",
}  # fmt: skip


class _Flops(TorchDispatchMode):
    """Adds up what every operation of a forward pass computes."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = func.overloadpacket.__name__
        numbers = [
            z for z in tree_leaves(result) if isinstance(z, Tensor) and z.is_floating_point()
        ]
        if func.overloadpacket in flop_registry:
            self.total += flop_registry[func.overloadpacket](*args, **kwargs, out_val=result)
        elif name == "linalg_solve_triangular":
            self.total += numbers[0].numel() * args[0].shape[-1]
        elif name in _REDUCTIONS:
            self.total += args[0].numel()
        elif torch.Tag.pointwise in func.tags and name not in _MOVES:
            self.total += sum(z.numel() for z in numbers)
        return result


@torch.no_grad()
def flops_per_token(model: nn.Module, vocab_size: int, max_len: int) -> float:
    """Floating-point operations of a forward pass over max_len tokens, per token.

    Two for every multiply-add of a matrix product or convolution, one for every element that any
    other arithmetic operation makes or sums up; none for moving numbers.
    """
    tokens_BT = (torch.arange(max_len) % vocab_size).unsqueeze(0)
    with warnings.catch_warnings():
        # Setting the flags warns, on a CPU, that their TF32 part is for other devices.
        warnings.simplefilter("ignore")
        # oneDNN runs an LSTM as one operation, in which nothing could be counted.
        with torch.backends.mkldnn.flags(enabled=False), _Flops() as flops:
            model(tokens_BT)
    return flops.total / max_len


_WIDEST, _WIDTH_STEPS = 1 << 14, 16
"""How far a width is looked for, and how far apart those that can be built may lie."""


def match_parameters(
    entry: Entry, size: Mapping[str, Any], target: int, vocab_size: int, max_len: int
) -> dict[str, Any]:
    """The size with the `width` whose parameter count comes nearest to `target`.

    Raises KbenchError where none comes within 5 %, or the model has no width.
    """
    if not isinstance(size.get("width"), int):
        raise KbenchError(f"{entry.name} has no width to match parameters by")
    if target < 1:
        raise KbenchError(f"{entry.name}: the reference has no parameters to match")

    @functools.cache
    def count(width: int) -> int | None:
        """None where the model cannot be built that wide."""
        for device in ("meta", "cpu"):
            with contextlib.suppress(Exception), torch.device(device):
                return parameter_count(build(entry, vocab_size, max_len, {**size, "width": width}))
        return None

    def count_from(width: int) -> int:
        """At the next width that can be built, such as a multiple of the heads."""
        counts = (count(w) for w in range(width, width + _WIDTH_STEPS))
        return next((c for c in counts if c is not None), 0)

    low, high = 1, 2
    while count_from(high) < target:
        low, high = high, 2 * high
        if high > _WIDEST:
            raise KbenchError(f"{entry.name}: no width up to {low:,} has {target:,} parameters")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count_from(middle) < target else (low, middle)
    # Widths that are rounded up to whole heads make the count uneven: look around as well.
    around = range(max(1, low - _WIDTH_STEPS), high + _WIDTH_STEPS)
    off = {w: c / target - 1 for w in around if (c := count(w)) is not None}
    near = min(off, key=lambda width: abs(off[width]))
    if abs(off[near]) > 0.05:
        raise KbenchError(
            f"{entry.name}: no width comes within 5 % of {target:,} parameters; "
            f"{near} is off by {off[near]:+.1%}"
        )
    return {**size, "width": near}
