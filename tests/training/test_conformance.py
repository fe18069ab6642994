"""`kbench check` passes every registered model, and names what is wrong with a broken one."""

import os
import re

import pytest
import torch
from torch import nn

from kbench.errors import KbenchError
from kbench.registry import Entry, models
from kbench.training.conformance import (
    CHECKS,
    NEEDED,
    OF_ONES_OWN,
    Subject,
    check,
    ensure_usable,
)


def subject(cls_or_name):
    if isinstance(cls_or_name, str):
        entry = models[cls_or_name]
        return Subject(entry=entry, size=entry.preset("quick"), vocab_size=4, max_len=12)
    entry = Entry(name="own", cls=cls_or_name, version="sha256:0", presets=None)
    return Subject(entry=entry, size={}, vocab_size=4, max_len=8)


@pytest.mark.parametrize("name", models.names())
def test_every_registered_model_passes(name):
    checks = check(subject(name))
    assert [c.name for c in checks] == list(CHECKS)
    assert [(c.name, c.detail) for c in checks if not c.passed] == []


class Mean(nn.Module):
    """A running mean of embeddings: a good model, which each broken one spoils in one place."""

    def __init__(self, vocab_size, max_len, width=8):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.head = nn.Linear(width, vocab_size)

    def mix(self, x):
        return x.cumsum(1) / torch.arange(1, x.shape[1] + 1).unsqueeze(-1)

    def forward(self, tokens):
        return self.head(self.mix(self.embedding(tokens)))


class LooksAhead(Mean):
    def mix(self, x):
        return super().mix(x) + 0.1 * x.mean(1, keepdim=True)


class LooksOneAhead(Mean):
    def mix(self, x):
        return super().mix(x) + 0.1 * x.roll(-1, 1)


class LeaksLater(Mean):
    """Its look ahead starts at zero, and is only there after some steps."""

    def __init__(self, vocab_size, max_len):
        super().__init__(vocab_size, max_len)
        self.ahead = nn.Linear(8, 8, bias=False)
        nn.init.zeros_(self.ahead.weight)

    def mix(self, x):
        return super().mix(x) + self.ahead(x.roll(-1, 1))


class StartsAtZero(Mean):
    """A good model with a branch that starts at zero, within which no gradient is at first."""

    def __init__(self, vocab_size, max_len):
        super().__init__(vocab_size, max_len)
        self.inner, self.outer = nn.Linear(8, 8), nn.Linear(8, 8)
        nn.init.zeros_(self.outer.weight)

    def mix(self, x):
        x = super().mix(x)
        return x + self.outer(self.inner(x).tanh())


class ByFourier(Mean):
    """A good model: its running sum is a causal convolution, computed by FFT."""

    def mix(self, x):
        T = x.shape[1]
        kernel = torch.fft.rfft(torch.ones(T), n=2 * T)
        product = torch.fft.rfft(x, n=2 * T, dim=1) * kernel.unsqueeze(-1)
        return torch.fft.irfft(product, n=2 * T, dim=1)[:, :T] / 4


@pytest.mark.parametrize("model", [StartsAtZero, ByFourier])
def test_a_good_model_passes_however_it_computes(model):
    assert [(c.name, c.detail) for c in check(subject(model)) if not c.passed] == []


def test_a_leak_that_is_only_there_after_some_steps_is_found():
    found = {c.name: c for c in check(subject(LeaksLater))}
    assert not found["causal"].passed
    assert "changes the logits of token" in found["causal"].detail


def test_before_a_run_a_model_of_ones_own_must_be_causal():
    with pytest.raises(KbenchError, match="causal: token 2 changes the logits of token 1"):
        ensure_usable(subject(LooksOneAhead))
    ensure_usable(subject(Mean))


class Late(Mean):
    def mix(self, x):
        return nn.functional.pad(super().mix(x), (0, 0, 1, 0))[:, :-1]


class CountsItsInput(Mean):
    def mix(self, x):
        return x.cumsum(1) / x.shape[1]


class Dropout(Mean):
    def mix(self, x):
        return nn.functional.dropout(super().mix(x), 0.5)


class Unseeded(Mean):
    def __init__(self, vocab_size, max_len):
        super().__init__(vocab_size, max_len)
        with torch.no_grad():
            self.head.bias += torch.tensor(list(os.urandom(vocab_size))) / 256


class DeadParameter(Mean):
    def __init__(self, vocab_size, max_len):
        super().__init__(vocab_size, max_len)
        self.unused = nn.Linear(2, 2)


class SeedsItself(Mean):
    def __init__(self, vocab_size, max_len):
        torch.manual_seed(0)
        super().__init__(vocab_size, max_len)


class InPlace(Mean):
    def mix(self, x):
        return super().mix(x).exp().add_(1)


class Frozen(Mean):
    def __init__(self, vocab_size, max_len):
        super().__init__(vocab_size, max_len)
        self.requires_grad_(False)


class Exits(Mean):
    def __init__(self, vocab_size, max_len):
        raise SystemExit("enough")


class Detached(Mean):
    def mix(self, x):
        return super().mix(x).detach()


class Explodes(Mean):
    def mix(self, x):
        return torch.where(x == x, super().mix(x), (x - x).sqrt())


class BatchNorm(Mean):
    def mix(self, x):
        x = super().mix(x)
        return x - x.mean(0)


class LastOnly(Mean):
    def forward(self, tokens):
        return super().forward(tokens)[:, -1]


class NeedsTwoTokens(Mean):
    def mix(self, x):
        return x[:, 1:].cumsum(1).expand(-1, x.shape[1], -1) if x.shape[1] == 2 else x[:, [1, 0]]


class Tuple(Mean):
    def forward(self, tokens):
        return super().forward(tokens), None


class Double(Mean):
    def __init__(self, vocab_size, max_len):
        super().__init__(vocab_size, max_len)
        self.double()


class NoModule:
    def __init__(self, vocab_size, max_len):
        pass


class OtherConstructor(nn.Module):
    def __init__(self, config):
        super().__init__()


class Forgets(Mean):
    def extend(self, tokens, state=None):
        return self(tokens), tokens


class ForgetsToNaN(Mean):
    def extend(self, tokens, state=None):
        return self(tokens) * (1.0 if state is None else float("nan")), tokens


class Extends(Mean):
    def extend(self, tokens, state=None):
        x = self.embedding(tokens)
        total, count = state or (torch.zeros_like(x[:, 0]), 0)
        sums = total.unsqueeze(1) + x.cumsum(1)
        counts = count + torch.arange(1, x.shape[1] + 1)
        return self.head(sums / counts.unsqueeze(-1)), (sums[:, -1], counts[-1])


BROKEN = {
    LooksAhead: ("causal", "token 2 changes the logits of token 1"),
    LooksOneAhead: ("causal", "changes the logits of token"),
    Late: ("causal", "token 1 does not change its own logits"),
    Dropout: ("deterministic", "other logits the second time"),
    Unseeded: ("deterministic", "head.bias starts otherwise"),
    SeedsItself: ("deterministic", "every seed starts from the same weights"),
    InPlace: ("deterministic", "RuntimeError: one of the variables needed for gradient"),
    Frozen: ("deterministic", "RuntimeError: element 0 of tensors does not require grad"),
    Exits: ("builds", "SystemExit: enough"),
    DeadParameter: ("gradients", "no gradient reaches unused.weight, unused.bias"),
    Detached: ("gradients", "no gradient reaches embedding.weight"),
    Explodes: ("gradients", "not finite in embedding.weight"),
    BatchNorm: ("batch", "alone and in a batch differ"),
    LastOnly: ("shapes", r"tokens \[16, 1\] give logits \[16, 4\], not \[16, 1, 4\]"),
    NeedsTwoTokens: ("shapes", "IndexError: index 1 is out of bounds"),
    Tuple: ("shapes", "the output is of type tuple, not a tensor"),
    Double: ("builds", "parameters are float64"),
    NoModule: ("builds", "NoModule is no torch.nn.Module"),
    OtherConstructor: ("builds", "TypeError: .*takes 2 positional arguments but 3 were given"),
    CountsItsInput: ("padding", "differ by .* when others follow"),
    ForgetsToNaN: ("state", r"extend\(\) differs from forward\(\) by nan after 1 tokens"),
    Forgets: ("state", r"extend\(\) differs from forward\(\) by .* after 1 tokens"),
}


@pytest.mark.parametrize("cls", BROKEN, ids=lambda cls: cls.__name__)
def test_a_broken_model_fails_at_the_right_line(cls):
    line, reason = BROKEN[cls]
    checks = check(subject(cls))
    failed = [c for c in checks if c.passed is False]
    assert failed[0].name == line
    assert re.search(reason, failed[0].detail), failed[0].detail
    if line in NEEDED:
        assert all(c.passed is None for c in checks[checks.index(failed[0]) + 1 :])
    # Whoever looks ahead also sees what a shorter input does not have.
    assert {c.name for c in failed} <= {line, "padding" if line == "causal" else line}
    if line in OF_ONES_OWN:
        with pytest.raises(KbenchError, match=f"model own: {line}: .*{reason}"):
            ensure_usable(subject(cls))
    else:
        ensure_usable(subject(cls))


class Tied(Mean):
    def __init__(self, vocab_size, max_len):
        super().__init__(vocab_size, max_len)
        self.head.weight = self.embedding.weight


class PartlyFrozen(Mean):
    def __init__(self, vocab_size, max_len):
        super().__init__(vocab_size, max_len)
        self.embedding.requires_grad_(False)


class InSequence(nn.Sequential):
    """Its `extend` appends modules."""

    def __init__(self, vocab_size, max_len):
        super().__init__(nn.Embedding(vocab_size, 8), nn.Linear(8, vocab_size))


class Counts(Extends):
    """Keeps its position as a Python number."""

    def extend(self, tokens, state=None):
        logits, (total, count) = super().extend(tokens, state)
        return logits, (total, int(count))


@pytest.mark.parametrize(
    ("cls", "state"),
    [
        (Mean, "no extend"),
        (Extends, "^9 numbers$"),
        (Counts, "^9 numbers$"),
        (Tied, "no extend"),
        (PartlyFrozen, "no extend"),
        (InSequence, "no extend"),
    ],
)
def test_a_good_model_passes_with_and_without_extend(cls, state):
    checks = {c.name: c for c in check(subject(cls))}
    assert all(c.passed for c in checks.values())
    assert re.search(state, checks["state"].detail)
    assert checks["cohort"].detail == "stacks"


def test_a_model_that_cannot_be_stacked_trains_one_by_one():
    class Branches(Mean):
        def mix(self, x):
            return super().mix(x) if x.sum().item() > -1e9 else x

    (cohort,) = (c for c in check(subject(Branches)) if c.name == "cohort")
    assert cohort.passed
    assert cohort.detail.startswith("trains one by one: RuntimeError")


class WrongRule(torch.autograd.Function):
    """The identity, but for a vmap rule that doubles."""

    @staticmethod
    def forward(x):
        return x.clone()

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, grad):
        return grad

    @staticmethod
    def vmap(info, in_dims, x):
        return 2 * x, in_dims[0]


def test_what_a_stacked_cohort_gets_wrong_is_found():
    class Doubles(Mean):
        def mix(self, x):
            return WrongRule.apply(super().mix(x))

    (cohort,) = (c for c in check(subject(Doubles)) if c.name == "cohort")
    assert cohort.passed is False
    assert "stacked, the gradient of" in cohort.detail


@pytest.mark.parametrize(
    ("answer", "problem"),
    {
        "the first": (lambda x, at_P: x[: len(at_P)], "at some positions only, the logits differ"),
        "all": (lambda x, at_P: x, "64 positions give logits [128, 4], not [64, 4]"),
        "these": (lambda x, at_P: x[at_P], None),
    }.values(),
)
def test_answers_at_some_positions_are_those_of_all(answer, problem):
    class Asked(Mean):
        def forward(self, tokens_BT, at_P=None):
            logits = super().forward(tokens_BT)
            return logits if at_P is None else answer(logits.flatten(0, 1), at_P)

    (found,) = (c for c in check(subject(Asked)) if c.name == "positions")
    assert found.passed is (problem is None)
    assert (problem or "those of all") in found.detail
