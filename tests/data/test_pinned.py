"""The data of every task that results were measured on: bit for bit what they were."""

import hashlib

import pytest

from kbench.data.splits import Source
from kbench.registry import tasks

SETTINGS = {
    "cycle": {"lengths": (2, 7)},
    "gridnav": {"lengths": (2, 6), "w": 3, "h": 3, "walls": 2},
    "lookup": {"lengths": (2, 5), "keys": 5},
    "modadd": {"lengths": (2, 6), "m": 5},
    "parity": {"lengths": (6, 11)},
    "permutation": {"lengths": (2, 5), "group": "S3"},
    "registers": {"lengths": (2, 5), "r": 2, "m": 3},
}
# Taken before tasks could have updates and states of several tokens.
PINNED = {
    ("cycle", "outcome"): "4789f7ad99c55c0a",
    ("cycle", "cot"): "a08b755aaeb1715f",
    ("cycle", "aligned"): "ea0c3c39a63ffa35",
    ("gridnav", "outcome"): "92983849d880c404",
    ("gridnav", "cot"): "580c73c9bd57f92f",
    ("gridnav", "aligned"): "2ff616714bfe4406",
    ("lookup", "outcome"): "aacfa1479f3872cc",
    ("lookup", "cot"): "a334b0f9afd23be8",
    ("lookup", "aligned"): "21eb8b4f85ed4435",
    ("modadd", "outcome"): "01ca150cda8c577c",
    ("modadd", "cot"): "85691f28e0c8c2b0",
    ("modadd", "aligned"): "5f21f6a3aa2dd6d1",
    ("parity", "outcome"): "e0c3e72923b76e5a",
    ("parity", "cot"): "66d56bfca9ac2b45",
    ("parity", "aligned"): "29d583897db74617",
    ("permutation", "outcome"): "516cacc50380848e",
    ("permutation", "cot"): "fa60c8579e1ccf94",
    ("permutation", "aligned"): "7635193aab77af62",
    ("registers", "outcome"): "c198a17bc846819a",
    ("registers", "cot"): "569a145c949704cb",
    ("registers", "aligned"): "0b6a05b6347f74ea",
}


@pytest.mark.parametrize(("name", "supervision"), PINNED)
def test_data_changed_raise_the_task_version(name, supervision):
    params = dict(SETTINGS[name])
    first, last = params.pop("lengths")
    source = Source(
        task=tasks[name].cls(**params),
        supervision=supervision,
        lengths=tuple(range(first, last + 1)),
        max_validation=100,
        max_validation_fraction=0.2,
    )
    digest = hashlib.sha256("".join(s.sha256() for s in source.splits(200, 7)).encode())
    assert digest.hexdigest()[:16] == PINNED[name, supervision], (
        "data changed: raise the task version, say so under 'scores' in the changelog, pin anew"
    )
