"""Cells with pairs held out: their searches, keys, and how they are named."""

import json
import shlex

import pytest
from conftest import FakeExecutor, board_cell, changed

import kbench
from kbench.cli import app
from kbench.errors import KbenchError
from kbench.leaderboard.place import command, location
from kbench.report.document import document_of, plain
from kbench.report.frames import to_csv, to_markdown
from kbench.report.results import Results
from kbench.statistics.brackets import Bracket
from kbench.statistics.search import Probe
from kbench.study.cell import Cell
from kbench.study.driver import Driver
from kbench.study.executors.local import InProcess
from kbench.study.request import Request
from kbench.study.store import Store

NAMED = "10 % of pairs held out"


@pytest.fixture
def held(wide):
    return changed(wide, lengths=(3, 4, 5), hold_out_pairs=0.1)


def run(cells, store, rule):
    driver = Driver(cells, store, FakeExecutor(rule))
    for _ in driver.run():
        pass
    return driver.progress


def test_a_cell_holds_both_sizes_and_survives_the_store(held):
    assert (held.universes, held.held_out) == ({3: 27, 4: 81, 5: 243}, {3: 6, 4: 25, 5: 94})
    assert Cell.from_spec(json.loads(json.dumps(held.spec()))) == held


def test_cells_and_trials_without_are_written_as_before(wide, held):
    trial = wide.trial((3,), 1, Probe(9, wide.protocol.recipes[0]))
    assert not {"hold_out_pairs", "held_out"} & (wide.spec().keys() | trial.spec().keys())
    # As kbench gave it before pairs could be held out.
    assert trial.key() == "4dd61cb799f2456b8b84a489b593bcb108c175b52ae89f158731e65d9bb34fda"
    other = held.trial((3,), 1, Probe(9, wide.protocol.recipes[0]))
    assert other.spec() == trial.spec() | {"hold_out_pairs": 0.1}
    assert not trial.stacks_with(other)


def test_who_has_seen_every_training_sample_does_not_know_the_length(held, tmp_path):
    with Store(tmp_path) as store:
        (progress,) = run([held], store, lambda trial: "failed")
    sizes = {n: held.universes[n] - held.held_out[n] for n in held.lengths}
    for n, size in sizes.items():
        found = {*progress.run.brackets((n,))}
        assert found == {Bracket(low=size, high=None, censored="right")}
    assert {b.low for b in progress.run.brackets(held.lengths)} == {sum(sizes.values())}
    assert progress.run.kappa.is_open
    assert " (all)" not in str(Results([], [progress.run]))


def test_lengths_that_are_never_learned_alone_still_bound_kappa_from_below(held, tmp_path):
    with Store(tmp_path) as store:
        (progress,) = run(
            [changed(held, seeds=(1, 2, 3, 4, 5))], store,
            lambda trial: "passed" if len(trial.lengths) > 1 else "failed",
        )  # fmt: skip
    assert progress.run.kappa.low > 1
    assert progress.run.kappa.high is None
    assert progress.run.verdict == "sharing"


def test_documents_tables_and_exports_name_the_split_and_no_table_mixes_two(held, wide, tmp_path):
    both = [changed(wide, lengths=held.lengths), held]
    with Store(tmp_path) as store:
        progress = run(both, store, lambda t: "passed" if t.n_samples > 20 else "failed")
        results = document_of(progress).results
    assert [plain(of)["hold_out_pairs"] for of in results] == [None, 0.1]
    shown = str(Results(results, [p.run for p in progress]))
    assert shown.count("Sharing factor κ") == 2
    assert shown.count("\n  lstm    modadd m=3, 10 % of pairs held out ") == 1
    assert [row.split(",")[5] for row in to_csv(results, "kappa").splitlines()] == (
        ["hold_out_pairs", "", "0.1"]
    )
    for what in ("kappa", "n_star"):
        assert to_markdown(results[1:], what).count(NAMED) > 0
        assert NAMED not in to_markdown(results[:1], what)
    assert Results(results, [])["held-out pairs"] is results[1]


def test_the_command_asks_for_this_split(monkeypatch):
    import typer

    cell = board_cell(hold_out_pairs=0.25, extrapolate=())
    asked = []
    monkeypatch.setattr("kbench.api.measure", lambda cells, *a, **k: asked.extend(cells) or 1 / 0)
    words = shlex.split(command(cell))
    assert "--hold-out-pairs 0.25" in command(cell)
    with pytest.raises(ZeroDivisionError):
        typer.main.get_command(app)(words[1:], standalone_mode=False)
    assert asked == [cell]


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 2, True, "0.1", float("nan")])
def test_what_is_no_share_is_refused_in_one_line(share):
    with pytest.raises(KbenchError, match="--hold-out-pairs is a share between 0 and 1"):
        Request.of(model="lstm", task="modadd", hold_out_pairs=share)


def test_no_board_has_such_a_cell():
    with pytest.raises(KbenchError, match="boards do not mix splits"):
        location(board_cell(hold_out_pairs=0.1))


def test_where_it_would_stand_is_refused_before_anything_is_measured(kbench_here, tmp_path):
    (tmp_path / "leaderboards").mkdir()
    words = ["--model", "rnn", "--task", "modadd", "--hold-out-pairs", "0.1", "--board"]
    done = kbench_here("run", *words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--board: boards do not mix splits" in done.stderr
    assert not (tmp_path / ".kbench").exists()


def test_it_is_measured(tmp_path, tiny_yaml):
    options = {
        "model": "rnn", "task": "modadd", "task_params": {"m": 2}, "lengths": (3, 4), "seeds": 1,
        "supervision": "aligned", "protocol": str(tiny_yaml), "hold_out_pairs": 0.1,
        "extrapolate": "2x",
    }  # fmt: skip
    assert kbench.plan(**options, store=tmp_path).searches == 4
    with Store(tmp_path) as store:
        for _ in Driver(Request.of(**options).cells(), store, InProcess()).run():
            pass
    (result,) = kbench.load(tmp_path)
    assert result.complete
    assert result.hold_out_pairs == 0.1
    assert {t.seen_prefixes for t in result.trials} == {0}  # training never has such a pair
    assert max(t.n_samples for t in result.trials if t.lengths == [3, 4]) == 13  # of 8 and of 16
    assert all(t.accuracy["8"].accuracy > 0 for t in result.extrapolation)


def test_sample_shows_the_pairs_and_what_is_judged(kbench_here, tmp_path):
    words = ["--task", "modadd", "--set", "m=3", "--length", "3", "--supervision", "aligned"]
    done = kbench_here("sample", *words, "--hold-out-pairs", "0.1", "--count", "2", cwd=tmp_path)
    assert "3 of 27 pairs held out, after their state: 0: 0 1, 2: 2 1, 1: 2 0" in done.stdout
    assert "6 samples hold one, for validation; the other 21 are for training" in done.stdout
    rows = done.stdout.rpartition("aligned\n")[2].splitlines()
    assert [row.split()[0] for row in rows] == ["read", "target"] * 2
    assert all(len(row.split()) in (2, 3) for row in rows[1::2])  # not what comes before the pair
