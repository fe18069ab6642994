"""The trial store: nothing is lost, nothing changes, several processes may write."""

import dataclasses
import multiprocessing
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import fill, made_up

from kbench.errors import KbenchError
from kbench.recipe import Recipe, plain
from kbench.statistics.search import Probe
from kbench.study import store as stores
from kbench.study.store import Store, StoreFullError


def trial_of(cell, n_samples=8):
    return cell.trial((3,), 1, Probe(n_samples=n_samples, recipe=plain(0.01, 64)))


def test_what_is_put_comes_back_equal_after_reopening(tmp_path, cell):
    trial, result = trial_of(cell), made_up("passed", histogram={"3": 8}, best_loss=None)
    with Store(tmp_path) as store:
        assert store.get(trial.key()) is None
        store.put(trial, result)
    with Store(tmp_path) as store:
        assert store.get(trial.key()) == result
        assert store.get(trial_of(cell, 9).key()) is None


def test_rows_are_never_changed(tmp_path, cell):
    with Store(tmp_path) as store:
        store.put(trial_of(cell), made_up("passed"))
        store.put(trial_of(cell), made_up("failed"))
        assert store.get(trial_of(cell).key()).outcome == "passed"
        assert len(store) == 1


def test_an_error_is_not_kept_so_that_the_next_run_tries_again(tmp_path, cell):
    with Store(tmp_path) as store:
        store.put(trial_of(cell), made_up("error"))
        assert store.get(trial_of(cell).key()) is None


def test_cells_come_back_as_they_were_asked_for(tmp_path, cell):
    other = dataclasses.replace(cell, supervision="cot")
    with Store(tmp_path) as store:
        for c in (cell, other, cell):
            store.add_cell(c.spec())
        assert {c["supervision"]: type(cell).from_spec(c) for c in store.cells()} == {
            "aligned": cell,
            "cot": other,
        }


def test_every_part_of_a_trial_is_part_of_its_key(cell):
    trial = trial_of(cell)
    training = dataclasses.replace(trial.training, eps=0.02)
    changes = {
        "model": "mamba",
        "model_version": 2,
        "size": {"width": 65, "layers": 1},
        "backend": "mamba-ssm",
        "task": "other",
        "task_version": 2,
        "task_params": {"m": 3},
        "supervision": "cot",
        "lengths": (3, 4),
        "distribution": "short-to-long",
        "tested": (10,),
        "hold_out_pairs": 0.1,
        "n_samples": 9,
        "recipe": plain(0.011, 64),
        "seed": 2,
        "protocol": "tiny-2",
        "training": training,
    }
    assert set(changes) == {field.name for field in dataclasses.fields(trial)}
    keys = {dataclasses.replace(trial, **{name: value}).key() for name, value in changes.items()}
    assert len(keys) == len(changes)
    assert trial.key() not in keys
    assert dataclasses.replace(trial).key() == trial.key()


def test_of_a_recipe_its_numbers_are_part_of_the_key_and_its_name_is_not(cell):
    trial = trial_of(cell)
    other = {"learning_rate": 0.1, "batch_size": 9, "betas": (0.5, 0.9), "weight_decay": 0.1,
             "warmup": 3, "clip": 2.0}  # fmt: skip
    assert {*other, "name"} == {field.name for field in dataclasses.fields(Recipe)}
    recipes = [dataclasses.replace(trial.recipe, **{name: value}) for name, value in other.items()]
    keys = {dataclasses.replace(trial, recipe=recipe).key() for recipe in recipes}
    assert len(keys | {trial.key()}) == len(other) + 1
    renamed = dataclasses.replace(trial.recipe, name="other")
    assert dataclasses.replace(trial, recipe=renamed).key() == trial.key()


def test_the_store_keeps_recipes_apart(cell, tmp_path):
    trial = trial_of(cell)
    warm = dataclasses.replace(trial, recipe=dataclasses.replace(trial.recipe, warmup=9))
    with Store(tmp_path) as store:
        store.put(trial, made_up("passed"))
        store.put(warm, made_up("failed"))
        assert store.endings(trial)[trial.variant].outcome == "passed"
        assert store.endings(warm)[warm.variant].outcome == "failed"
        assert len(store.endings(warm)) == 1


def test_a_result_digest_leaves_out_only_time_and_place():
    base = made_up("passed").digest("key")
    assert made_up("passed", wall_s=9.0, environment={}).digest("key") == base
    changes = {"steps": 11, "best_loss": 0.4, "best_step": 9, "reason": "x", "histogram": {"2": 1},
               "data_sha256": {"train": "0"}, "accuracy": {"9": {"accuracy": 1.0}}}  # fmt: skip
    for name, value in changes.items():
        assert made_up("passed", **{name: value}).digest("key") != base
    assert made_up("failed").digest("key") != base
    assert made_up("passed").digest("other key") != base


def write_many(directory, cell, sizes):
    with Store(directory) as store:
        for n_samples in sizes:
            store.put(trial_of(cell, n_samples), made_up("passed", steps=n_samples))


def test_two_processes_may_write_at_once(tmp_path, cell):
    context = multiprocessing.get_context("spawn")
    writers = [
        context.Process(target=write_many, args=(tmp_path, cell, range(start, 150)))
        for start in (1, 50)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    with Store(tmp_path) as store:
        assert len(store) == 149
        assert store.get(trial_of(cell, 120).key()).steps == 120


def test_a_new_store_may_be_opened_by_many_at_once(tmp_path):
    def open_one(directory, at_once):
        at_once.wait()
        with Store(directory):
            return True

    with ThreadPoolExecutor(8) as pool:
        for k in range(20):
            at_once = threading.Barrier(8)
            opened = [pool.submit(open_one, tmp_path / str(k), at_once) for _ in range(8)]
            assert all(future.result() for future in opened)


def test_on_a_full_disk_results_go_where_the_reserve_was(small_disk, cell):
    with Store(small_disk / "store") as store:
        store.put(trial_of(cell, 1), made_up("passed"))
        assert not store.full
        fill(small_disk)
        for n_samples in range(2, 200):
            store.put(trial_of(cell, n_samples), made_up("passed"))
        assert "trials.sqlite3: " in store.full
    with Store(small_disk / "store", create=False) as store:  # room or not, it can be looked at
        assert len(store) == 199
        assert store.get(trial_of(cell, 100).key()).outcome == "passed"
    with pytest.raises(KbenchError, match="cannot open the trial store"):
        Store(small_disk / "store")  # no room to set aside: said before anything is run
    (small_disk / "filler").unlink()
    with Store(small_disk / "store") as store:
        assert not store.full
        assert (small_disk / "store" / "reserve").stat().st_size == 2**22


def test_without_the_reserve_a_full_disk_is_one_clear_error(small_disk, cell, monkeypatch):
    monkeypatch.setattr(stores, "_PATIENCE_S", 0.1)
    with Store(small_disk) as store:
        store.put(trial_of(cell, 1), made_up("passed"))
        (small_disk / "reserve").unlink()
        fill(small_disk)
        with pytest.raises(StoreFullError, match=r"could not be written to .*trials.sqlite3"):
            for n_samples in range(2, 20000):
                store.put(trial_of(cell, n_samples), made_up("passed"))
    (small_disk / "filler").unlink()
    with Store(small_disk) as store:
        assert len(store) == n_samples - 1
        assert store.get(trial_of(cell, 1).key()).outcome == "passed"


def test_showing_needs_a_store(tmp_path):
    with pytest.raises(KbenchError, match="no trial store"):
        Store(tmp_path / "nowhere", create=False)
    assert not (tmp_path / "nowhere").exists()


def test_a_store_that_cannot_be_read_is_one_clear_error(tmp_path):
    (tmp_path / "trials.sqlite3").write_text("this is not a database, it is a text file " * 100)
    with pytest.raises(KbenchError, match="cannot open the trial store"):
        Store(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(KbenchError, match="cannot open the trial store"):
        Store(tmp_path / "file")


def test_a_store_of_another_schema_is_left_alone(tmp_path):
    db = sqlite3.connect(tmp_path / "trials.sqlite3")
    db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(KbenchError, match="schema 99"):
        Store(tmp_path)


def test_endings_are_those_of_the_family_and_of_no_other(tmp_path, cell):
    trials = [trial_of(cell, n) for n in (4, 8)]
    others = [dataclasses.replace(trials[0], **c) for c in ({"tested": (9,)}, {"backend": "x"})]
    with Store(tmp_path) as store:
        assert store.endings(trials[0]) == {}
        for trial, outcome in zip(trials, ("failed", "passed"), strict=True):
            store.put(trial, made_up(outcome, environment={"torch": outcome}))
        for trial in others:
            store.put(trial, made_up("failed"))
        expected = {t.variant: store.get(t.key()).ending(t.key()) for t in trials}
        assert store.endings(trial_of(cell, 99)) == expected
    assert [e.environment for e in expected.values()] == [
        '{"torch":"failed"}',
        '{"torch":"passed"}',
    ]


def test_a_store_that_is_busy_is_not_damaged(tmp_path, cell, monkeypatch):
    monkeypatch.setattr(stores, "_PATIENCE_S", 0.1)
    with Store(tmp_path) as store:
        store.put(trial_of(cell), made_up("passed"))
        store._db.execute("PRAGMA journal_mode=DELETE")
        other = sqlite3.connect(store.path)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(KbenchError, match="cannot be read: database is locked"):
            store.get(trial_of(cell).key())
        other.close()
        assert store.get(trial_of(cell).key()).outcome == "passed"


def test_a_write_protected_store_says_so_at_once(tmp_path, cell, monkeypatch):
    with Store(tmp_path) as store:
        store._db.execute("PRAGMA query_only=1")
        monkeypatch.setattr(stores.time, "sleep", lambda seconds: pytest.fail("waits for nothing"))
        with pytest.raises(KbenchError, match="is write-protected"):
            store.put(trial_of(cell), made_up("passed"))


def test_a_path_is_no_uri(tmp_path, cell, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Store(Path("file:x?mode=memory")) as store:
        store.put(trial_of(cell), made_up("passed"))
    assert (tmp_path / "file:x?mode=memory" / "trials.sqlite3").stat().st_size > 0


def test_many_may_bring_an_older_store_up_at_once(tmp_path, cell):
    with Store(tmp_path) as store:
        store.put(trial_of(cell), made_up("passed"))
    db = sqlite3.connect(tmp_path / "trials.sqlite3")
    for table in ("trials", "cells"):
        db.execute(f"ALTER TABLE {table} DROP COLUMN seal")
    db.execute(f"PRAGMA user_version={stores.WITHOUT_SEALS}")
    db.close()

    def outcome(_):
        with Store(tmp_path) as store:
            return store.get(trial_of(cell).key()).outcome

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(outcome, range(8))) == ["passed"] * 8


def hold(folder, spec, holds):
    """Claim a cell, and live until killed."""
    with Store(folder) as store:
        holds.put(store.claim(spec))
        time.sleep(600)


def test_a_cell_is_claimed_by_one_process_for_as_long_as_it_lives(tmp_path):
    context = multiprocessing.get_context("spawn")
    holds = context.Queue()
    with Store(tmp_path) as store:
        holder = context.Process(target=hold, args=(tmp_path, {"cell": 1}, holds))
        holder.start()
        assert holds.get(timeout=60)
        assert not store.claim({"cell": 1})
        assert store.claim({"cell": 2})
        holder.kill()
        holder.join()
        assert store.claim({"cell": 1})


def test_where_there_is_no_room_for_locks_everyone_may(tmp_path):
    with Store(tmp_path) as store:
        (tmp_path / "claims").mkdir()
        assert store.claim({"cell": 1})
