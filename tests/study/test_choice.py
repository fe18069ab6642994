"""How many workers there are: cores, and what a container grants of them."""

import math

import pytest

from kbench.study.executors import choice


def made(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


CASES = {
    "version 2, in a container": ("0::/\n", {"cpu.max": "250000 100000\n"}, 2.5),
    "version 2, unlimited": ("0::/\n", {"cpu.max": "max 100000\n"}, math.inf),
    "version 2, of a parent": (
        "0::/a/b\n", {"a/cpu.max": "100000 100000", "a/b/cpu.max": "max 100000"}, 1.0,
    ),
    "version 2, of the group itself": (
        "0::/a\n", {"cpu.max": "max 100000", "a/cpu.max": "50000 100000"}, 0.5,
    ),
    "version 1": (
        "3:memory:/x\n1:cpu,cpuacct:/\n",
        {"cpu,cpuacct/cpu.cfs_quota_us": "300000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"},
        3.0,
    ),
    "version 1, unlimited": (
        "1:cpu:/\n",
        {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
        math.inf,
    ),
    "none": ("", {}, math.inf),
    "not what it should be": ("0::/\n", {"cpu.max": "x"}, math.inf),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_quota_of_a_container_is_found(name, tmp_path):
    groups, files, expected = CASES[name]
    made(tmp_path / "cgroup", files)
    made(tmp_path, {"groups": groups})
    assert min(choice.quotas(tmp_path / "cgroup", tmp_path / "groups")) == expected


def test_without_control_groups_there_is_none(tmp_path):
    assert list(choice.quotas(tmp_path / "none", tmp_path / "groups")) == [math.inf]


@pytest.mark.parametrize(("quota", "workers"), [(0.5, 1), (1.9, 1), (2.0, 2), (math.inf, 3)])
def test_workers_are_whole_cores_at_least_one(quota, workers, monkeypatch):
    monkeypatch.setattr(choice.os, "sched_getaffinity", lambda pid: {0, 1, 2})
    monkeypatch.setattr(choice, "quotas", lambda *_: [quota])
    assert choice.worker_count(None, "cpu") == workers
    assert choice.worker_count(5, "cpu") == 5
    assert choice.worker_count(None, "cuda") == 1
