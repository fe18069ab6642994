"""Learning curves in the store, and a store of the version before."""

import dataclasses
import json
import sqlite3

from conftest import made_up

from kbench.recipe import plain
from kbench.statistics.search import Probe
from kbench.study import store as stores
from kbench.study.merge import merge
from kbench.study.store import Store
from kbench.training.loop import train
from kbench.training.member import CURVE_POINTS, Member


def a_trial(cell, n=8):
    return cell.trial((3,), 1, Probe(n_samples=n, recipe=plain(1e-2, 64)))


def version_4(folder, cell):
    """A store as kbench wrote it before curves, with one trial in it."""
    folder.mkdir()
    with Store(folder) as store:
        store.put(a_trial(cell), made_up("passed"))
    db = sqlite3.connect(folder / "trials.sqlite3")
    db.execute("DROP TABLE curves")
    for table in ("trials", "cells"):
        db.execute(f"ALTER TABLE {table} DROP COLUMN seal")
    db.execute("PRAGMA user_version=4")
    db.close()


def test_a_curve_comes_back_and_moves_no_digest(tmp_path, cell):
    trial, key = a_trial(cell), a_trial(cell).key()
    plain = made_up("passed")
    result = dataclasses.replace(plain, curve=[(10, 1.0986123), (20, 0.05)])
    assert result.digest(key) == plain.digest(key)
    with Store(tmp_path) as store:
        store.put(trial, result)
        assert store.get(key) == dataclasses.replace(result, curve=((10, 1.0986), (20, 0.05)))
        row = store._db.execute("SELECT result FROM trials").fetchone()
        assert "curve" not in json.loads(row[0])


def test_an_older_store_is_read_as_it_is_and_grows_when_trials_run(tmp_path, cell):
    folder, trial, other = tmp_path / "old", a_trial(cell), a_trial(cell, 9)
    version_4(folder, cell)
    before = (folder / "trials.sqlite3").read_bytes()
    with Store(folder, create=False) as store:
        assert store.get(trial.key()) == dataclasses.replace(made_up("passed"), curve=())
    assert (folder / "trials.sqlite3").read_bytes() == before
    with Store(folder) as store:
        store.put(other, made_up("passed", curve=[[1, 2.0]]))
    with Store(folder, create=False) as store:
        assert store.get(trial.key()).curve == ()
        assert store.get(other.key()).curve == ((1, 2.0),)
        assert store._db.execute("PRAGMA user_version").fetchone()[0] == stores.SCHEMA_VERSION


def test_a_run_keeps_the_losses_that_it_passed_through(cell):
    (result,) = train([cell.trial((3, 4, 5), 1, Probe(n_samples=30, recipe=plain(1e-2, 64)))])
    steps, losses = zip(*result.curve, strict=True)
    assert list(steps) == sorted(set(steps))
    assert len(steps) <= CURVE_POINTS
    assert (result.best_step, result.best_loss) in result.curve
    assert steps[-1] == result.steps
    assert min(losses) == result.best_loss


def test_a_long_curve_is_thinned_out():
    member = Member.__new__(Member)
    member._curve = [(10 * i, 1.0 + abs(i - 777)) for i in range(1, 1001)]
    thin = member.curve()
    assert CURVE_POINTS - 1 <= len(thin) <= CURVE_POINTS
    assert thin[0] == (10, 777.0)
    assert (7770, 1.0) in thin
    assert thin[-1] == (10_000, 224.0)
    gaps = [b[0] - a[0] for a, b in zip(thin, thin[1:], strict=False)]
    assert max(gaps) <= 2 * 10_000 / CURVE_POINTS
    member._curve = member._curve[:CURVE_POINTS]
    assert member.curve() == member._curve


def test_a_merge_brings_the_curves_of_those_that_have_some(tmp_path, cell):
    version_4(tmp_path / "old", cell)
    other = a_trial(cell, 9)
    with Store(tmp_path / "new") as store:
        store.put(other, made_up("passed", curve=[[1, 2.0]]))
    merge([tmp_path / "old", tmp_path / "new"], tmp_path / "all")
    with Store(tmp_path / "all", create=False) as store:
        assert store.get(a_trial(cell).key()).curve == ()
        assert store.get(other.key()).curve == ((1, 2.0),)
