"""Which backend a request takes, and the options that ask for one."""

import pytest

from kbench.errors import KbenchError
from kbench.ops import backends
from kbench.recipe import plain
from kbench.statistics.search import Probe
from kbench.study.request import Request, backend_options

PROBE = Probe(n_samples=10, recipe=plain(1e-3, 64))


def backends_of(**options):
    request = Request.of(model=["mamba", "mamba-neg", "lstm"], task="modadd", **options)
    return {cell.model: cell.backend for cell in request.cells()}


def test_on_a_cpu_a_model_with_kernels_takes_them():
    expected = {"mamba": "numba", "mamba-neg": "numba", "lstm": "torch"}
    assert backends_of() == backends_of(backend="numba") == expected
    assert set(backends_of(backend="torch").values()) == {"torch"}


def test_where_numba_is_missing_torch_does_it(monkeypatch):
    monkeypatch.setattr(backends.importlib.util, "find_spec", lambda name: None)
    assert set(backends_of().values()) == {"torch"}
    with pytest.raises(KbenchError, match="--backend numba: it is not installed"):
        backends_of(backend="numba")


def test_two_backends_share_no_trial():
    keys = set()
    for backend in ("torch", "numba"):
        (cell,) = Request.of(
            model="mamba", task="modadd", supervision="cot", backend=backend
        ).cells()
        keys.add(cell.trial(cell.joint, 1, PROBE).key())
    assert len(keys) == 2


@pytest.mark.parametrize(
    ("model", "backend", "options"),
    [
        ("lstm", "torch", []),
        ("mamba", "torch", ["--backend", "torch"]),
        ("mamba", "numba", ["--backend", "numba"]),
        ("mamba", "mamba-ssm", ["--backend", "mamba-ssm", "--device", "cuda"]),
        ("zoo/own.py:Own", "torch", []),
    ],
)
def test_a_command_names_the_backend_where_there_are_several(model, backend, options):
    assert backend_options(model, backend) == options
