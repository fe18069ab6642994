"""What can only be seen on a CUDA device; skipped without one."""

import json

import pytest
import torch
from forked import kbench
from test_cohort import SMALL, STACKABLE, cohort_of
from test_scan import scan_inputs
from trials import a_trial, splits

from kbench.ops.backends import missing
from kbench.ops.scan import torch_scan
from kbench.ops.scan_mamba_ssm import kernel_scan
from kbench.recipe import plain
from kbench.registry import models
from kbench.statistics.search import Probe
from kbench.training.cohort import Cohort
from kbench.training.loop import train
from kbench.training.member import Member
from kbench.training.modules import build

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
needs_kernel = pytest.mark.skipif(
    bool(missing("mamba-ssm", "cuda")), reason="mamba-ssm not installed"
)


@needs_kernel
@pytest.mark.parametrize("T", [1, 7, 40, 128])
def test_the_kernel_is_our_scan(T):
    """In single precision, against our scan in double precision: its values and gradients."""
    exact = [z.detach() for z in scan_inputs(T, 8, 64, 16)[0]]
    direction = torch.randn(T, 8, 64)

    def values_and_gradients(scan, inputs):
        inputs = [z.requires_grad_() for z in inputs]
        values = scan(*inputs)
        gradients = torch.autograd.grad(values[0], inputs, direction.to(values[0]))
        return [*values, *gradients]

    expected = values_and_gradients(torch_scan, [z.clone() for z in exact])
    for scan in (kernel_scan, torch_scan):
        found = values_and_gradients(scan, [z.float().cuda() for z in exact])
        for ours, theirs in zip(found, expected, strict=True):
            error = (ours.cpu().double() - theirs).norm()
            assert error <= 1e-5 * theirs.norm(), scan


@needs_kernel
def test_mamba_is_the_same_on_both_backends():
    size = models["mamba"].preset("quick")
    tokens = torch.randint(5, (16, 20), device="cuda")
    ours, theirs = (
        build(models["mamba"], 5, 20, size, backend=b).cuda()(tokens)
        for b in ("torch", "mamba-ssm")
    )
    torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-4)


@needs_kernel
def test_the_kernel_learns_what_our_scan_learns():
    size = models["mamba"].preset("quick") | SMALL
    kernel, ours = (
        train([a_trial(model="mamba", size=size, backend=b, eps=0.8)], device="cuda")[0]
        for b in ("mamba-ssm", "torch")
    )
    assert kernel.outcome == ours.outcome == "passed"
    assert kernel.best_loss == pytest.approx(ours.best_loss, rel=0.1)
    assert kernel.environment["mamba-ssm"] and "mamba-ssm" not in ours.environment


@needs_kernel
def test_a_cohort_is_one_call_of_the_kernel():
    there = train(cohort_of("mamba", backend="mamba-ssm", eps=0.8), device="cuda")
    here = train(cohort_of("mamba", eps=0.8))
    for ours, theirs in zip(there, here, strict=True):
        assert ours.environment["stacked"]
        assert ours.outcome == theirs.outcome
        assert ours.best_loss == pytest.approx(theirs.best_loss, rel=0.1)
    trials = cohort_of("mamba", backend="mamba-ssm")
    captured = Cohort([Member(t, *splits(t), "cuda") for t in trials])
    captured.step()
    assert captured._captures


@needs_kernel
def test_a_run_takes_the_kernel_and_two_backends_share_no_trial(tiny_yaml, tmp_path):
    words = ["--model", "mamba", "--task", "modadd", "--set", "m=2", "--lengths", "3-4",
             "--supervision", "aligned", "--protocol", tiny_yaml, "--json"]  # fmt: skip
    for backend, choice in (("mamba-ssm", []), ("torch", ["--backend", "torch"])):
        done = kbench("run", *words, "--device", "cuda", *choice, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        (result,) = json.loads(done.stdout)["results"]
        assert (result["backend"], result["trials"]["reused"]) == (backend, 0)


@pytest.mark.parametrize("name", models.names())
def test_logits_on_the_gpu_are_those_of_the_cpu(name):
    model = build(models[name], 5, 12, models[name].preset("quick"))
    tokens = torch.randint(5, (16, 12))
    with torch.no_grad():
        expected = model(tokens)
        torch.testing.assert_close(
            model.cuda()(tokens.cuda()).cpu(), expected, rtol=1e-3, atol=1e-3
        )


def test_a_trial_trains_on_the_gpu(cell):
    trial = cell.trial((5,), 1, Probe(n_samples=20, recipe=plain(0.01, 64)))
    (there,), (here,) = train([trial], device="cuda"), train([trial])
    assert there.outcome == here.outcome
    assert there.data_sha256 == here.data_sha256
    assert there.environment["device"] == torch.cuda.get_device_name()


@pytest.mark.parametrize(
    "model",
    ["transformer", "transformer-alibi", "rnn", "dense-ssm", "xlstm", "mamba", "lstm", "gru"],
)
def test_a_captured_cohort_ends_as_its_trials_alone_on_the_cpu(model):
    cohort = cohort_of(model, eps=0.8)
    there, here = train(cohort, device="cuda"), train(cohort)
    for ours, theirs in zip(there, here, strict=True):
        assert ours.environment["stacked"]
        assert ours.outcome == theirs.outcome
        assert ours.data_sha256 == theirs.data_sha256
        assert ours.best_loss == pytest.approx(theirs.best_loss, rel=0.1)


@pytest.mark.parametrize("model", ["transformer", "rnn", "looped-transformer", "mamba-neg"])
def test_a_step_is_captured(model):
    members = [Member(t, *splits(t), "cuda") for t in cohort_of(model)]
    captured = Cohort(members)
    captured.step()
    expected = [m.validation_loss() * m.n_targets for m in members]
    first = Cohort([Member(t, *splits(t), "cuda") for t in cohort_of(model)])
    for _ in range(2):  # captured, then replayed
        assert first.validation_nats(first._learners) == pytest.approx(expected, rel=1e-3)
    assert captured._captures
    assert first._captures
    assert first._judges


@pytest.mark.parametrize("name", models.names())
def test_a_cohort_trains_whether_its_model_stacks_or_not(name):
    """Those that stack on a CPU do, but for torch's GRU, which is another one there."""
    results = train(cohort_of(name, steps=60, eps=1e-9), device="cuda")
    assert [r.reason for r in results] == ["budget"] * 4
    assert ("stacked" in results[0].environment) == (name in STACKABLE and name != "gru")
