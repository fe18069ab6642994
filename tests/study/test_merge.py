"""Stores joined: nothing is lost, nothing overwritten, no changed row gets in."""

import dataclasses
import sqlite3

import pytest
from conftest import made_up, measured

from kbench.errors import KbenchError
from kbench.recipe import plain
from kbench.statistics.search import Probe
from kbench.study import store as stores
from kbench.study.merge import Merged, merge
from kbench.study.shards import Shard
from kbench.study.store import Store


def rows(directory):
    """All that is in a store, without the numbers by which its tables refer to each other."""
    db = sqlite3.connect(directory / "trials.sqlite3")
    found = [
        sorted(db.execute(f"SELECT {columns} FROM {table}"))
        for table, columns in {
            "families": "spec",
            "environments": "content",
            "trials NATURAL JOIN (SELECT id AS family, spec FROM families)": "key, spec, seed, "
            "n_samples, learning_rate, outcome, steps, best_loss, digest, result, stored_at",
            "cells": "spec, asked_at",
        }.items()
    ]
    db.close()
    return found


def digests(directory):
    db = sqlite3.connect(directory / "trials.sqlite3")
    found = dict(db.execute("SELECT key, digest FROM trials"))
    db.close()
    return found


def change(directory, statement, *values):
    db = sqlite3.connect(directory / "trials.sqlite3")
    with db:
        assert db.execute(statement, values).rowcount > 0
    db.close()


def trial_of(cell, n_samples=8):
    return cell.trial((3,), 1, Probe(n_samples=n_samples, recipe=plain(0.01, 64)))


def store_of(directory, *pairs):
    with Store(directory) as store:
        for trial, result in pairs:
            store.put(trial, result)
    return directory


@pytest.fixture
def three(tmp_path, cell):
    """The stores of three shares, and the cells."""
    cells = [dataclasses.replace(cell, supervision=s) for s in ("outcome", "cot", "aligned")]
    stores = [tmp_path / name for name in "abc"]
    for k, directory in enumerate(stores, 1):
        with Store(directory) as store:
            (own,) = Shard(k, 3).share(cells)
            measured(own, store)
    return stores, cells


def test_three_shares_merged_are_one_run(tmp_path, three):
    stores, cells = three
    with Store(tmp_path / "one") as store:
        for cell in cells:
            measured(cell, store)
    found = merge(stores, tmp_path / "all")
    expected = digests(tmp_path / "one")
    assert digests(tmp_path / "all") == expected
    assert found == Merged(trials_added=len(expected), trials_there=0, cells_added=3, cells_there=0)
    with Store(tmp_path / "all") as merged, Store(tmp_path / "one") as one:
        for cell in cells:
            trial = trial_of(cell, 2)
            assert merged.endings(trial) == one.endings(trial)
        assert {str(spec) for spec in merged.cells()} == {str(spec) for spec in one.cells()}


def test_merging_twice_changes_nothing(tmp_path, three):
    stores, _ = three
    first = merge(stores, tmp_path / "all")
    before, content = rows(tmp_path / "all"), (tmp_path / "all" / "trials.sqlite3").read_bytes()
    second = merge([*stores, tmp_path / "all"], tmp_path / "all")
    assert rows(tmp_path / "all") == before
    assert (tmp_path / "all" / "trials.sqlite3").read_bytes() == content
    assert second == Merged(
        trials_added=0, trials_there=first.trials_added, cells_added=0, cells_there=3
    )


def test_sources_stay_as_they_are(tmp_path, three):
    stores, _ = three
    before = [rows(directory) for directory in stores]
    merge(stores, tmp_path / "all")
    assert [rows(directory) for directory in stores] == before


def test_the_first_row_stays_where_only_what_is_not_compared_differs(tmp_path, cell):
    trial = trial_of(cell)
    a = store_of(tmp_path / "a", (trial, made_up("passed", environment={"torch": "2"})))
    b = store_of(tmp_path / "b", (trial, made_up("passed", environment={"torch": "3"}, wall_s=9)))
    merge([b], a)
    with Store(a) as store:
        assert store.get(trial.key()).environment == {"torch": "2"}


def sealed_again(folder):
    db = sqlite3.connect(folder / "trials.sqlite3")
    db.create_function("seal", -1, stores.seal)
    own = f"SELECT seal({stores.CONTENT}) {stores.ROWS} WHERE t.rowid = trials.rowid"
    db.execute(f"UPDATE trials SET seal = ({own})")
    db.execute("UPDATE cells SET seal = seal(spec)")
    db.commit()
    db.close()


CHANGES = {
    "UPDATE trials SET outcome = 'failed' WHERE key = ?": "outcome is not what its result gives",
    "UPDATE trials SET steps = 1, best_loss = 0.1 WHERE key = ?": "steps, best_loss are not what",
    "UPDATE trials SET digest = 'abc' WHERE key = ?": "digest is not what its result gives",
    "UPDATE trials SET result = replace(result, '\"best_step\":10', '\"best_step\":9') "
    "WHERE key = ?": "digest is not what its result gives",
    "UPDATE trials SET result = '{}' WHERE key = ?": "result cannot be read",
    "UPDATE trials SET result = replace(result, '0.5', 'NaN') WHERE key = ?": "cannot be read",
    "UPDATE trials SET result = '{' WHERE key = ?": "result cannot be read",
    "UPDATE trials SET seed = 7 WHERE key = ?": "key is not that of its specification",
    "UPDATE trials SET n_samples = 9, steps = 1 WHERE key = ?": "specification and steps is not",
    "UPDATE trials SET family = 99 WHERE key = ?": "key is not that of its specification",
    "UPDATE trials SET environment = 99 WHERE key = ?": "result cannot be read",
    "UPDATE families SET spec = replace(spec, 'lstm', 'gru') "
    "WHERE id = (SELECT family FROM trials WHERE key = ?)": "key is not that of its specification",
    "UPDATE families SET spec = '7' "
    "WHERE id = (SELECT family FROM trials WHERE key = ?)": "key is not that of its specification",
}


@pytest.mark.parametrize("statement", CHANGES)
def test_a_store_with_a_changed_row_is_refused_by_name(tmp_path, cell, statement):
    trial = trial_of(cell)
    sound = store_of(tmp_path / "sound", (trial_of(cell, 16), made_up("passed")))
    bad = store_of(tmp_path / "bad", (trial, made_up("passed")))
    change(bad, statement, trial.key())
    with pytest.raises(KbenchError, match="is damaged: "):
        merge([sound, bad], tmp_path / "all")
    sealed_again(bad)  # as a forger would
    with pytest.raises(KbenchError) as refused:
        merge([sound, bad], tmp_path / "all")
    said = str(refused.value)
    assert "\n" not in said
    assert f"the store {bad} has a changed row" in said
    assert f"trial {trial.key()[:12]}" in said
    assert CHANGES[statement] in said
    assert not (tmp_path / "all").exists()


def test_a_cell_that_is_none_is_refused(tmp_path, cell):
    with Store(tmp_path / "bad") as store:
        store.add_cell(cell.spec())
    change(tmp_path / "bad", "UPDATE cells SET spec = replace(spec, 'seeds', 'sedes')")
    with pytest.raises(KbenchError, match="is damaged: a cell is not what was written"):
        merge([tmp_path / "bad"], tmp_path / "all")
    sealed_again(tmp_path / "bad")
    with pytest.raises(KbenchError, match="a cell cannot be read"):
        merge([tmp_path / "bad"], tmp_path / "all")


def test_a_conflict_is_named_and_nothing_overwritten(tmp_path, cell):
    trial = trial_of(cell)
    passed, failed = made_up("passed"), made_up("failed")
    a = store_of(tmp_path / "a", (trial_of(cell, 16), passed), (trial, passed))
    b = store_of(tmp_path / "b", (trial, failed))
    for sources, into in (([a], b), ([a, b], tmp_path / "new")):
        before = rows(b)
        with pytest.raises(KbenchError, match="conflict, and nothing was merged") as refused:
            merge(sources, into)
        for part in (trial.key()[:12], str(a), str(b), passed.digest(trial.key())[:12]):
            assert part in str(refused.value)
        assert rows(b) == before
    assert not (tmp_path / "new").exists()


def test_a_source_must_be_there(tmp_path):
    with pytest.raises(KbenchError, match=f"no trial store at {tmp_path / 'none'}"):
        merge([tmp_path / "none"], tmp_path / "all")
    assert not (tmp_path / "all").exists()


def test_a_store_that_is_none_of_ours_is_refused(tmp_path):
    (tmp_path / "trials.sqlite3").write_text("no database at all, but a text of some length" * 50)
    with pytest.raises(KbenchError, match="cannot open the trial store"):
        merge([tmp_path], tmp_path / "all")


def test_what_fails_halfway_leaves_nothing(tmp_path, three, monkeypatch):
    from kbench.study import merge as module

    stores, _ = three
    store_of(tmp_path / "all")
    before = rows(tmp_path / "all")
    monkeypatch.setattr(module, "_COPIED", (*module._COPIED, (module._CELLS, "INSERT INTO none")))
    with pytest.raises(KbenchError, match="nothing was merged"):
        merge(stores, tmp_path / "all")
    assert rows(tmp_path / "all") == before
