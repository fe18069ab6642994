"""Is this module a causal sequence model, as everything else in kbench takes for granted?"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kbench.errors import KbenchError, one_line
from kbench.recipe import plain
from kbench.registry import Entry
from kbench.training.modules import answers_at, build, lengthened, parameter_count, state_size
from kbench.training.stack import Stack, why_not

BATCH = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One line of the table."""

    name: str
    passed: bool | None
    """None where an earlier check had to pass first."""
    detail: str


class Nonconforming(Exception):
    """The message says what the module does instead."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """A model under examination."""

    entry: Entry
    size: Mapping[str, Any]
    vocab_size: int
    max_len: int
    """Of the longest input that the protocol has for it."""

    def model(self, seed: int = 1) -> nn.Module:
        """A fresh one, as the training loop builds it."""
        return build(self.entry, self.vocab_size, self.max_len, self.size, seed=seed)

    def tokens(self, time: int | None = None) -> Tensor:
        """tokens_BT in which every id occurs, if there is room for all."""
        count = BATCH * (time or self.max_len)
        order = torch.randperm(count, generator=torch.Generator().manual_seed(1))
        return (order % self.vocab_size).view(BATCH, -1)


def _builds(subject: Subject) -> str:
    model = subject.model()
    if not isinstance(model, nn.Module):
        raise Nonconforming(f"{subject.entry.cls.__name__} is no torch.nn.Module")
    kinds = {str(p.dtype).removeprefix("torch.") for p in model.parameters()}
    if kinds != {"float32"}:
        raise Nonconforming(f"parameters are {', '.join(sorted(kinds)) or 'none'}, not float32")
    return f"{parameter_count(model):,} parameters"


def _shapes(subject: Subject) -> str:
    model = subject.model()
    for time in sorted({1, 2, subject.max_len}):
        _check_logits(model(subject.tokens(time)), time, subject.vocab_size)
    return f"T = 1 to {subject.max_len}"


def _check_logits(logits: Any, time: int, vocab_size: int) -> None:
    expected = (BATCH, time, vocab_size)
    if not isinstance(logits, Tensor):
        raise Nonconforming(f"the output is of type {type(logits).__name__}, not a tensor")
    if logits.shape != expected:
        raise Nonconforming(
            f"tokens {list(expected[:2])} give logits {list(logits.shape)}, not {list(expected)}"
        )
    if logits.dtype != torch.float32:
        raise Nonconforming(f"the logits are {logits.dtype}, not torch.float32")
    if not logits.isfinite().all():
        raise Nonconforming(f"some logits are not finite at T = {time}")


def _deterministic(subject: Subject) -> str:
    model, twin, tokens = subject.model(), subject.model(), subject.tokens()
    for (name, p), q in zip(model.state_dict().items(), twin.state_dict().values(), strict=True):
        if not torch.equal(p, q):
            raise Nonconforming(f"{name} starts otherwise under the same torch.manual_seed")
    other = subject.model(seed=2)
    if all(torch.equal(p, q) for p, q in zip(model.parameters(), other.parameters(), strict=True)):
        raise Nonconforming("every seed starts from the same weights")
    if not torch.equal(model(tokens), model(tokens)):
        raise Nonconforming("the same tokens give other logits the second time (dropout?)")
    grads, again = _gradients(model, tokens), _gradients(twin, tokens)
    for name, g in grads.items():
        if g is not None and not torch.allclose(g, again[name], 0.0, 0.0, equal_nan=True):  # type: ignore[arg-type]
            raise Nonconforming(f"the gradient of {name} comes out otherwise the second time")
    return "weights, logits and gradients, bit by bit"


LOOKS = (0, 8)
"""Steps of a short training after which a model is looked at: a branch that starts at zero neither
leaks nor has a gradient before it has moved."""
LEAK = 1e-5
"""Of the largest logit: an FFT mixes the rounding of all positions, which is no leak."""


def _after(subject: Subject, steps: int) -> nn.Module:
    """The model after some steps towards the token that follows, which rewards looking ahead."""
    model, tokens = subject.model(), subject.tokens()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2)
    with torch.enable_grad():
        for _ in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(model(tokens).flatten(0, 1), tokens.roll(-1, 1).flatten()).backward()
            if not all(p.grad is None or p.grad.isfinite().all() for p in trained):
                break  # which is for another check to say
            optimizer.step()
    return model


@torch.no_grad()
def _causal(subject: Subject) -> str:
    for steps in LOOKS:
        _ensure_causal(_after(subject, steps), subject)
    return f"each of {subject.max_len} tokens changes its own logits and none before"


def _ensure_causal(model: nn.Module, subject: Subject) -> None:
    tokens = subject.tokens()
    before = model(tokens)
    allowed = LEAK * before.abs().max()
    for t in range(subject.max_len):
        changed = tokens.clone()
        changed[:, t] = (tokens[:, t] + 1) % subject.vocab_size
        moved_T = (before - model(changed)).abs().amax(dim=(0, 2))
        if (moved_T[:t] > allowed).any():
            first = int((moved_T > allowed).nonzero()[0])
            raise Nonconforming(f"token {t + 1} changes the logits of token {first + 1}")
        if not moved_T[t] > allowed:
            raise Nonconforming(f"token {t + 1} does not change its own logits")


@torch.no_grad()
def _padding(subject: Subject) -> str:
    model, tokens = subject.model(), subject.tokens()
    whole = model(tokens)
    for time in range(1, subject.max_len):
        off = (model(tokens[:, :time]) - whole[:, :time]).abs().max().item()
        if not off <= 1e-4 * whole.abs().max().item():
            raise Nonconforming(
                f"the logits of the first {time} tokens differ by {off:.1e} when others follow"
            )
    return "tokens that follow never change a prediction"


@torch.no_grad()
def _batch(subject: Subject) -> str:
    model, tokens = subject.model(), subject.tokens()
    whole = model(tokens)
    off = (model(tokens[2:3]) - whole[2:3]).abs().max().item()
    if not off <= 1e-4 * whole.abs().max().item():
        raise Nonconforming(f"a sequence alone and in a batch differ by {off:.1e} (batch norm?)")
    return "sequences of a batch do not see each other"


def _gradients(model: nn.Module, tokens: Tensor) -> dict[str, Tensor | None]:
    model.zero_grad()
    F.cross_entropy(model(tokens).flatten(0, 1), tokens.roll(1, 1).flatten()).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.requires_grad}


def _trains(subject: Subject) -> str:
    dead: set[str] | None = None
    for steps in LOOKS:
        grads = _gradients(_after(subject, steps), subject.tokens())
        wild = [name for name, g in grads.items() if g is not None and not g.isfinite().all()]
        if wild:
            raise Nonconforming(f"the gradient is not finite in {', '.join(wild)}")
        without = {name for name, g in grads.items() if g is None or not g.any()}
        dead = without if dead is None else dead & without
    if dead:
        raise Nonconforming(f"no gradient reaches {', '.join(n for n in grads if n in dead)}")
    return f"a gradient reaches all of {len(grads)} parameter tensors"


@torch.no_grad()
def _extends(subject: Subject) -> str:
    model: Any = subject.model()
    size = state_size(model, subject.vocab_size, subject.max_len)
    if size is None:
        return "not measured: the model has no extend()"
    tokens = subject.tokens()
    whole = model(tokens)
    state, at = None, 0
    while at < subject.max_len:
        piece = tokens[:, at : 2 * at + 1]
        logits, state = model.extend(piece, state)
        off = (logits - whole[:, at : 2 * at + 1]).abs().max().item()
        if not off <= 1e-4 * whole.abs().max().item():
            raise Nonconforming(f"extend() differs from forward() by {off:.1e} after {at} tokens")
        at += piece.shape[1]
    return state_text(size)


@torch.no_grad()
def _positions(subject: Subject) -> str:
    """Logits at some positions only against those of all."""
    model, tokens = subject.model(), subject.tokens()
    if not answers_at(model):
        return "not offered: forward() has no at_P"
    whole_PV = model(tokens).flatten(0, 1)
    for step in (1, 2, 3):
        at_P = torch.arange(step - 1, len(whole_PV), step)
        logits_PV = model(tokens, at_P)
        if logits_PV.shape != whole_PV[at_P].shape:
            raise Nonconforming(
                f"{len(at_P)} positions give logits {list(logits_PV.shape)}, not "
                f"{list(whole_PV[at_P].shape)}"
            )
        off = (logits_PV - whole_PV[at_P]).abs().max().item()
        if not off <= 1e-4 * whole_PV.abs().max().item():
            raise Nonconforming(f"at some positions only, the logits differ by {off:.1e}")
    return "logits at some positions only are those of all"


@torch.no_grad()
def not_lengthened(subject: Subject) -> str | None:
    """Why the model cannot be tested at longer lengths than those it is trained at, if it cannot.

    One built for more tokens, with what was learned, must predict the same as before.
    """
    short, tokens = _after(subject, LOOKS[-1]), subject.tokens()
    long = build(subject.entry, subject.vocab_size, 2 * subject.max_len, subject.size, seed=2)
    learned, before = short.state_dict(), short(tokens)
    grown = [
        name
        for name, tensor in long.state_dict().items()
        if name in learned and tensor.shape != learned[name].shape
    ]
    off = (lengthened(short, long)(tokens) - before).abs().max().item()
    if off <= 1e-4 * before.abs().max().item():
        return None
    by = f"{', '.join(grown)} has another shape there" if grown else "it hangs on max_len"
    return (
        f"built for {2 * subject.max_len} tokens, with all that it has learned, it predicts "
        f"otherwise than built for {subject.max_len}, by {off:.1e} ({by})"
    )


def _longer(subject: Subject) -> str:
    """No fault of a model, which can be measured all the same, but not tested beyond."""
    reason = not_lengthened(subject)
    return f"not with --extrapolate: {reason}" if reason else "can be tested at longer lengths"


def state_text(size: tuple[int, int] | None) -> str:
    """`128 numbers`, or `grows with T: 128 numbers a token`."""
    if size is None:
        return "no extend()"
    constant, per_token = size
    if not per_token:
        return f"{constant:,} numbers"
    more = f", and {constant:,}" if constant else ""
    return f"grows with T: {per_token:,} numbers a token{more}"


def _cohort(subject: Subject) -> str:
    """Two members stacked against the same two alone."""
    members = [subject.model(seed) for seed in (1, 2)]
    tokens_KBT = torch.stack([subject.tokens(), subject.tokens().flip(0)])
    if reason := why_not(members, tokens_KBT):
        return f"trains one by one: {reason}"
    gradients_KP, _ = Stack(members, [plain(1.0, 1)] * 2).gradients(tokens_KBT, tokens_KBT)
    for member, tokens, gradient_P in zip(members, tokens_KBT, gradients_KP, strict=True):
        F.cross_entropy(member(tokens).flatten(0, 1), tokens.flatten()).backward()
        trained = {name: p for name, p in member.named_parameters() if p.requires_grad}
        pieces = gradient_P.split([p.numel() for p in trained.values()])
        for (name, p), found in zip(trained.items(), pieces, strict=True):
            expected = torch.zeros_like(p) if p.grad is None else p.grad
            off = (found - expected.flatten()).nan_to_num().abs().max().item()
            if off > 1e-4 * expected.nan_to_num().abs().max().item() + 1e-9:
                raise Nonconforming(f"stacked, the gradient of {name} is off by {off:.1e}")
    return "stacks"


CHECKS: dict[str, Callable[[Subject], str]] = {
    "builds": _builds,
    "shapes": _shapes,
    "deterministic": _deterministic,
    "causal": _causal,
    "padding": _padding,
    "batch": _batch,
    "gradients": _trains,
    "state": _extends,
    "positions": _positions,
    "longer": _longer,
    "cohort": _cohort,
}
NEEDED = ("builds", "shapes", "deterministic")
"""Without these the others say nothing, and no run can begin."""
OF_ONES_OWN = (*NEEDED, "causal")
"""What a model of one's own is looked over for before a run, which would mean nothing otherwise."""


def check(subject: Subject) -> list[Check]:
    """Every check, in order; whatever the module raises is a reason, not a crash."""
    checks: list[Check] = []
    for name, examine in CHECKS.items():
        if any(c.passed is False for c in checks if c.name in NEEDED):
            checks.append(Check(name=name, passed=None, detail="not reached"))
            continue
        try:
            checks.append(Check(name=name, passed=True, detail=examine(subject)))
        except Nonconforming as error:
            checks.append(Check(name=name, passed=False, detail=str(error)))
        except (Exception, SystemExit) as error:  # a model may raise anything
            checks.append(Check(name=name, passed=False, detail=one_line(error)))
    return checks


def ensure_usable(subject: Subject, *, causal: bool = True) -> None:
    """The checks that take no time, before a run begins; raises KbenchError.

    Of a model of one's own also whether it is causal, unless somebody else says so.
    """
    is_own = isinstance(subject.entry.version, str)
    for name in OF_ONES_OWN if is_own and causal else NEEDED:
        try:
            CHECKS[name](subject)
        except KbenchError:
            raise
        except (Exception, SystemExit) as error:
            reason = error if isinstance(error, Nonconforming) else one_line(error)
            raise KbenchError(f"model {subject.entry.name}: {name}: {reason}") from None
