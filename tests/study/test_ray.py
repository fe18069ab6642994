"""The Ray executor on a cluster of two nodes, both on this machine."""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import time
import uuid
from pathlib import Path

import pytest
from forked import kbench
from test_cli import CELL, KBENCH, stable, wait_for_trials
from test_executors import run_all, trials
from test_own import TEMPLATE

from kbench.errors import KbenchError
from kbench.recipe import plain
from kbench.statistics.search import Probe
from kbench.study.driver import Driver
from kbench.study.executors.local import InProcess
from kbench.study.executors.ray import _ray, on_ray
from kbench.study.store import Store

# Ray reads its settings when it is first imported. Who has the token may run code on the cluster.
os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid.uuid4().hex * 2}
with contextlib.suppress(KbenchError):
    _ray()
cluster_utils = pytest.importorskip("ray.cluster_utils")

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
]
NODE = {"num_cpus": 1, "object_store_memory": 80 << 20}


@pytest.fixture(scope="module")
def mark():
    """In the environment of every process that these tests start; none may be left at the end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KBENCH_TEST_MARK", str(uuid.uuid4()))
        yield os.environ["KBENCH_TEST_MARK"]
        assert all_gone(os.environ["KBENCH_TEST_MARK"])


def two_nodes():
    quick_to_notice = {
        "health_check_initial_delay_ms": 0,
        "health_check_period_ms": 500,
        "health_check_failure_threshold": 4,
    }
    head = NODE | {"include_dashboard": False, "_system_config": quick_to_notice}
    started = cluster_utils.Cluster(initialize_head=True, head_node_args=head)
    started.second = started.add_node(**NODE)
    return started


@pytest.fixture(scope="module")
def cluster(mark):
    started = two_nodes()
    yield started
    started.shutdown()


@pytest.fixture
def own_cluster(mark):
    started = two_nodes()
    yield started
    started.shutdown()


def all_gone(mark, within_s=20):
    deadline = time.monotonic() + within_s
    while (left := marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return not left


def marked(mark):
    """Processes other than this one with the mark in the environment that they were started in."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if f"KBENCH_TEST_MARK={mark}".encode() in (path / "environ").read_bytes():
                found.append((path.name, (path / "comm").read_text().strip()))
        except OSError:
            continue
    return [process for process in found if int(process[0]) != os.getpid()]


def test_the_same_digests_as_in_this_process(cluster, cell):
    todo = trials(cell, 4)
    here, there = run_all(InProcess(), todo), run_all(on_ray(cluster.address), todo)
    assert len(here) == 4
    assert {k: f.result.digest(k) for k, f in here.items()} == {
        k: f.result.digest(k) for k, f in there.items()
    }


@pytest.mark.parametrize("graceful", [False, True])
def test_a_lost_node_costs_only_what_it_ran_and_a_new_one_is_used(
    own_cluster, cell, tmp_path, monkeypatch, graceful
):
    from kbench.study.executors import ray as executor_module

    run, begun, doomed = executor_module._run, tmp_path / "begun", own_cluster.second.node_id
    begun.mkdir()

    def recorded(cohort, device, directory):
        import ray

        node = ray.get_runtime_context().get_node_id()
        earlier = len(list(begun.glob(f"{node}-*")))
        (begun / f"{node}-{earlier}").write_text(cohort[0].key())
        time.sleep(600 if node == doomed and earlier == 2 else 0.3)
        return run(cohort, device, directory)

    monkeypatch.setattr(executor_module, "_run", recorded)
    with Store(tmp_path / "ray") as store, on_ray(own_cluster.address) as executor:
        assert executor.capacity == 2
        driver, added = Driver([cell], store, executor), None
        for _ in driver.run():
            if not added and (begun / f"{doomed}-2").exists():
                own_cluster.remove_node(own_cluster.second, allow_graceful=graceful)
                added = own_cluster.add_node(**NODE)
        deadline = time.monotonic() + 20
        while executor.capacity != 2 and time.monotonic() < deadline:
            time.sleep(0.2)
        assert executor.capacity == 2
        (progress,) = driver.progress
    keys = [path.read_text() for path in begun.iterdir()]
    lost = (begun / f"{doomed}-2").read_text()
    assert keys.count(lost) == 2
    assert sorted(keys) == sorted([*set(keys), lost])
    assert not (begun / f"{doomed}-3").exists()
    assert list(begun.glob(f"{added.node_id}-*"))
    with Store(tmp_path / "ray") as store, Store(tmp_path / "here") as other:
        stored = {key for key in keys if store.get(key)}
        assert lost in stored
        assert len(stored) == progress.trials_run
        assert len(set(keys) - stored) <= 2  # ran ahead, and were given up when the cell was done
        here = Driver([cell], other, InProcess())
        list(here.run())
    assert progress.run.complete
    assert progress.run.results == here.progress[0].run.results


def test_a_trial_that_raises_is_reported_in_one_line(cluster, cell):
    broken = cell.trial((3,), 1, Probe(n_samples=1000, recipe=plain(0.01, 64)))
    (finished,) = run_all(on_ray(cluster.address), [broken]).values()
    assert finished.result is None
    assert finished.error.startswith("ValueError: only ")
    assert "\n" not in finished.error


def test_a_worker_that_always_dies_is_an_error_after_three_attempts(
    cluster, cell, tmp_path, monkeypatch
):
    def die(cohort, device, directory):
        (tmp_path / str(uuid.uuid4())).touch()
        os._exit(7)

    monkeypatch.setattr("kbench.study.executors.ray._run", die)
    (finished,) = run_all(on_ray(cluster.address), trials(cell, 1)).values()
    assert finished.result is None
    assert finished.error.startswith("its worker died")
    assert len(list(tmp_path.iterdir())) == 3


def test_a_cluster_that_is_lost_is_one_line(cluster, cell):
    with on_ray(cluster.address) as executor:
        executor.submit(trials(cell, 1))
        executor._ray.shutdown()
        for step in (executor.finished, lambda: executor.submit(trials(cell, 1))):
            with pytest.raises(KbenchError, match="^the Ray cluster is lost .* command resumes$"):
                step()


def test_a_folder_that_a_node_lacks_is_named(cluster, cell, tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "cwd", lambda: tmp_path / "gone")
    trial = dataclasses.replace(*trials(cell, 1), model="nowhere.py:Mean")
    (finished,) = run_all(on_ray(cluster.address), [trial]).values()
    assert "model file nowhere.py: No such file or directory" in finished.error
    assert finished.error.endswith(f"has no folder {tmp_path / 'gone'})")


def test_by_the_command_line_with_a_model_of_ones_own(cluster, tmp_path, tiny_yaml):
    (tmp_path / "mean.py").write_text(TEMPLATE)
    options = [
        "run", *CELL, "--model", "mean.py:Mean", "--supervision", "aligned",
        "--protocol", tiny_yaml, "--json",
    ]  # fmt: skip
    here = kbench(*options, "--workers", "1", "--store", "here", cwd=tmp_path)
    on_ray = ["--executor", "ray", "--ray-address", cluster.address, "--profile"]
    there = kbench(*options, *on_ray, cwd=tmp_path)
    assert there.returncode == 0, there.stderr
    assert "on 2 workers" in there.stderr
    assert "Where the time went: 2 × " in there.stderr
    assert len(json.loads(there.stdout)["results"]) == 2
    assert stable(there.stdout) == stable(here.stdout)


@pytest.mark.parametrize("by", ["SIGTERM", "Ctrl-C"])
def test_a_stop_is_clean_and_leaves_nothing_running(cluster, by, mark, tmp_path):
    """SIGTERM on a cluster, as a batch system sends it; Ctrl-C with an instance of its own."""
    cluster_is = marked(mark)
    address = ["--ray-address", cluster.address] if by == "SIGTERM" else []
    options = ["run", *CELL, "--supervision", "cot", "--executor", "ray", *address]
    process = subprocess.Popen(
        [*KBENCH, *options], cwd=tmp_path, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    wait_for_trials(tmp_path / ".kbench", 3, process)
    if by == "SIGTERM":
        process.terminate()
    else:
        os.killpg(process.pid, signal.SIGINT)  # a terminal's reaches Ray's processes too
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "raylet" not in out + err
    assert "stopping (press Ctrl-C again to end at once)" in err
    assert "Resume with: kbench run --model lstm" in err
    if address:
        assert set(cluster_is) <= set(marked(mark))
        with on_ray(cluster.address) as executor:
            deadline = time.monotonic() + 20
            while executor._ray.available_resources().get("CPU") != 2:
                assert time.monotonic() < deadline
                time.sleep(0.2)
    else:
        deadline = time.monotonic() + 20
        while set(marked(mark)) - set(cluster_is):
            assert time.monotonic() < deadline
            time.sleep(0.2)


@pytest.mark.parametrize("address", ["localhost:1", "nowhere.invalid:6379", "ray://localhost:1"])
def test_a_bad_address_is_one_line_and_soon(address, tmp_path, tiny_yaml):
    options = ["--executor", "ray", "--ray-address", address, "--protocol", tiny_yaml]
    start = time.monotonic()
    done = kbench("run", *CELL, *options, cwd=tmp_path)
    assert time.monotonic() - start < 60  # Ray's own attempts take minutes
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"kbench: error: --ray-address {address}: ")
    assert not (tmp_path / ".kbench").exists()


def test_without_ray_it_says_how_to_install_it(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(KbenchError, match=r"pip install 'ray\[client\]'"):
        on_ray(None)
