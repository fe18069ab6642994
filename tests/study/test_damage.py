"""A store in which bits have changed: no traceback, no silent change, and the good rows kept."""

import random
import sqlite3

import pytest
from conftest import FakeExecutor
from test_cell import document, rule, run

from kbench.errors import KbenchError
from kbench.report.document import document_of, plain
from kbench.study.driver import Progress, asked_for, recall
from kbench.study.repair import DAMAGED, repair
from kbench.study.searches import CellRun
from kbench.study.store import Store, StoreDamagedError

FLIPS = 200


@pytest.fixture
def sound(wide, tmp_path):
    """A store of about a hundred made-up trials, closed; and what it says."""
    folder = tmp_path / "sound"
    with Store(folder) as store:
        run(wide, store, FakeExecutor(rule))
    return folder, told(folder)


def told(folder):
    """As `kbench show --json` reads it, without what lies in no row."""
    with Store(folder, create=False) as store:
        progress = []
        for cell in asked_for(store):
            p = Progress(run=CellRun(cell))
            recall(p.run, store)
            progress.append(p)
        found = plain(document_of(progress, store))["results"]
    for result in found:
        del result["wall_s"]
    return found


def copied(folder, to, flip=None):
    """The store's file, with one bit changed."""
    to.mkdir()
    content = bytearray((folder / "trials.sqlite3").read_bytes())
    if flip is not None:
        content[flip // 8] ^= 1 << flip % 8
    (to / "trials.sqlite3").write_bytes(content)
    return to


def test_no_changed_bit_is_a_traceback_or_goes_unnoticed(sound, wide, tmp_path):
    folder, whole = sound
    size = (folder / "trials.sqlite3").stat().st_size
    rng, noticed, repaired = random.Random(1), 0, 0
    for i in range(FLIPS):
        bad = copied(folder, tmp_path / str(i), rng.randrange(8 * size))
        try:
            found = told(bad)
        except KbenchError as error:
            assert "\n" not in str(error)
            noticed += 1
        else:
            # Free space, or a row that is not found and would be trained again.
            assert found == whole or not all(result["complete"] for result in found)
            continue
        try:
            kept = repair(bad).kept
        except KbenchError as error:
            assert "\n" not in str(error)
            continue
        repaired += 1
        assert kept >= 0.8 * len(whole[0]["trials"]["each"])
        with Store(bad) as store:
            again = document(run(wide, store, FakeExecutor(rule)).progress)["results"]
        assert again[0]["kappa"] == whole[0]["kappa"]
        assert again[0]["n_star"] == whole[0]["n_star"]
    assert noticed > FLIPS / 3, "the test should meet rows"
    assert repaired > 0.8 * noticed


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE trials SET outcome = 'qassed' WHERE rowid = 3",
        "UPDATE trials SET outcome = 'failed' WHERE outcome = 'passed' AND rowid > 3",
        "UPDATE trials SET best_loss = 0.1 WHERE rowid = 3",
        "UPDATE trials SET steps = 11 WHERE rowid = 3",
        "UPDATE trials SET n_samples = n_samples + 1 WHERE rowid = 3",
        "UPDATE trials SET digest = 'x' WHERE rowid = 3",
        "UPDATE trials SET seal = NULL WHERE rowid = 3",
        "UPDATE trials SET result = replace(result, 'reason', 'treason') WHERE rowid = 3",
        "UPDATE trials SET environment = 99 WHERE rowid = 3",
        "UPDATE families SET spec = replace(spec, 'lstm', 'lstn')",
        "UPDATE environments SET content = '{}'",
        "UPDATE cells SET spec = replace(spec, 'aligned', 'outcome')",
        "UPDATE cells SET spec = 'x'",
    ],
)
def test_a_changed_row_is_one_line_that_says_what_to_do(statement, sound, tmp_path):
    folder, whole = sound
    bad = copied(folder, tmp_path / "bad")
    db = sqlite3.connect(bad / "trials.sqlite3")
    db.execute(statement)
    db.commit()
    db.close()
    with pytest.raises(StoreDamagedError) as refused:
        told(bad)
    said = str(refused.value)
    assert "\n" not in said
    assert f"`kbench repair {bad}`" in said
    assert "of " in said or "a cell is not what was written" in said


def test_a_row_under_another_family_is_found_when_it_is_in_the_way(sound, wide, tmp_path):
    bad = copied(sound[0], tmp_path / "bad")
    db = sqlite3.connect(bad / "trials.sqlite3")
    db.execute("UPDATE trials SET family = 99 WHERE rowid = 3")
    db.commit()
    db.close()
    with pytest.raises(StoreDamagedError), Store(bad) as store:
        run(wide, store, FakeExecutor(rule))


def test_a_repair_keeps_what_is_good_and_the_damaged_file(sound, wide, tmp_path):
    folder, whole = sound
    bad = copied(folder, tmp_path / "bad")
    db = sqlite3.connect(bad / "trials.sqlite3")
    db.execute("UPDATE trials SET outcome = 'qassed' WHERE rowid IN (3, 5, 8)")
    db.commit()
    db.close()
    before = (bad / "trials.sqlite3").read_bytes()
    found = repair(bad)
    assert (found.lost, found.cells) == (3, 1)
    assert found.kept == len(whole[0]["trials"]["each"]) - 3
    assert (bad / DAMAGED).read_bytes() == before
    executor = FakeExecutor(rule)
    with Store(bad) as store:
        run(wide, store, executor)
    assert len(executor.ran) == 3
    assert told(bad) == whole
    with pytest.raises(KbenchError, match="earlier repair"):
        repair(bad)


def test_a_sound_store_is_kept_whole(sound):
    folder, whole = sound
    found = repair(folder)
    assert (found.kept, found.lost) == (len(whole[0]["trials"]["each"]), 0)
    assert told(folder) == whole


def test_there_must_be_a_store_and_something_of_it(tmp_path):
    with pytest.raises(KbenchError, match="no trial store"):
        repair(tmp_path)
    (tmp_path / "trials.sqlite3").write_bytes(b"not a database at all" * 100)
    with pytest.raises(KbenchError, match="nothing of the store"):
        repair(tmp_path)
