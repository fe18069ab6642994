"""Every way to cheat that was thought of, and what is said to it."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import board_cell, invented

from kbench.leaderboard.checking import validation
from kbench.leaderboard.entry import parse, text_of, trial_of
from kbench.leaderboard.place import location


def write(root, content, place="quick-1/modadd.m-2.3-5/aligned/lstm.json"):
    path = root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path


def problems(root):
    """What is wrong with each file, by its name."""
    files = sorted(root.rglob("*.json"))
    return {v.path.name: v.problems for v in validation.validate(files, root)}


def only_problem(root):
    ((problem,),) = problems(root).values()
    return problem


@pytest.fixture
def content(entry):
    return json.loads(text_of(entry))


@pytest.fixture
def root(tmp_path):
    return tmp_path / "leaderboards"


def redo_digests(content):
    """As a careful forger would."""
    entry = parse(json.dumps(content))
    cell = entry.cell()
    for row, raw in zip(entry.trials, content["trials"], strict=True):
        environment = entry.environments[row.environment]
        raw["digest"] = row.result(environment).digest(trial_of(row, cell).key())


def redo_results(content):
    from kbench.report.readings import result
    from kbench.study.driver import Progress

    run = parse(json.dumps(content)).run()
    found = result(Progress(run=run))
    content["results"] = {name: found[name] for name in content["results"]}


def test_a_true_entry_passes(root, content):
    write(root, content)
    assert problems(root) == {"lstm.json": ()}


def test_an_edited_kappa(root, content):
    content["results"]["kappa"]["best_of_grid"]["low"] = 9.9
    write(root, content)
    assert only_problem(root).startswith("kappa.best_of_grid.low is 9.9, its trials give 1.")


def test_an_edited_n_star(root, content):
    content["results"]["n_star"]["joint"]["per_seed"][1]["high"] = 5
    write(root, content)
    assert only_problem(root) == "n_star.joint.per_seed.1.high is 5, its trials give 20"


def test_an_edited_trial(root, content):
    content["trials"][3]["best_loss"] *= 0.9
    write(root, content)
    assert "was edited, or ran under other settings: its digest is" in only_problem(root)


def test_an_edited_trial_with_its_digest_made_anew_contradicts_itself(root, content):
    failed = next(t for t in content["trials"] if t["outcome"] == "failed")
    failed["outcome"] = "passed"
    redo_digests(content)
    write(root, content)
    assert "passed by budget with a loss of 0.02" in only_problem(root)


def test_a_dropped_failing_trial(root, content):
    joint = [t for t in content["trials"] if len(t["lengths"]) == 3 and not t["tested"]]
    content["trials"].remove(next(t for t in joint if t["outcome"] == "failed"))
    write(root, content)
    assert "a trial is missing" in only_problem(root)
    assert "the next one wants lengths 3+4+5" in only_problem(root)


def test_a_trial_that_no_search_asks_for(root, content):
    extra = dict(content["trials"][0], n_samples=4)
    content["trials"].append(extra)
    redo_digests(content)
    write(root, content)
    first, *_ = problems(root)["lstm.json"]
    assert first.startswith("no search asks for the trial at lengths 3, seed 1, N = 4")


def test_a_trial_twice(root, content):
    content["trials"].append(content["trials"][0])
    write(root, content)
    assert only_problem(root).endswith("is there twice")


def test_a_wrong_data_hash(root, content):
    content["trials"][5]["data_sha256"]["train"] = "0" * 64
    redo_digests(content)
    write(root, content)
    assert "has a train set of 000000000000…, its seed gives" in only_problem(root)


def test_a_wrong_histogram(root, content):
    joint = next(t for t in content["trials"] if len(t["lengths"]) == 3)
    joint["histogram"] = dict.fromkeys(joint["histogram"], 1)
    redo_digests(content)
    write(root, content)
    assert "has another histogram of lengths" in only_problem(root)


def test_a_wrong_share_of_seen_prefixes(root, content):
    content["trials"][5]["seen_prefixes"] = 0.123
    write(root, content)
    assert "has seen_prefixes of 0.123, its data 0." in only_problem(root)


def test_trials_of_another_protocol(root, content):
    content["settings"]["protocol"] = "cpu-2"
    write(root, content, "cpu-2/modadd.m-2.3-5/aligned/lstm.json")
    (found,) = problems(root).values()
    assert "seeds are [1, 2, 3], cpu-2 has [1, 2, 3, 4, 5]" in found
    content["settings"]["seeds"] = [1, 2, 3, 4, 5]
    write(root, content, "cpu-2/modadd.m-2.3-5/aligned/lstm.json")
    (found,) = problems(root).values()
    assert all("ran under quick-1, not cpu-2" in problem for problem in found[:3])


def test_a_protocol_that_nobody_knows(root, content):
    content["settings"]["protocol"] = "quick-9"
    write(root, content)
    assert "unknown protocol 'quick-9'; did you mean 'quick-2'" in only_problem(root)


def test_a_model_that_is_not_the_one_here(root, content):
    content["environments"][0]["model_source"] = "sha256:" + "0" * 64
    write(root, content)
    assert only_problem(root).startswith("model lstm: measured with source sha256:000000000000…")


def test_a_version_that_is_not_the_one_here(root, content):
    content["settings"]["model_version"] = 2
    redo_digests(content)
    write(root, content)
    assert only_problem(root) == "model lstm: measured in version 2, here it is 1"


def test_a_size_that_is_not_the_preset(root, content):
    content["settings"]["size"]["width"] = 4096
    redo_digests(content)
    write(root, content)
    assert "its size is {'width': 4096, 'layers': 1}, the preset is" in only_problem(root)


def test_too_few_seeds_and_a_seed_chosen_for_its_luck(root):
    write(root, text_of(invented(board_cell())))
    for seeds in ([1, 2], [1, 2, 7], [1, 1, 2, 3], [1, 2, 3, 77]):
        content = json.loads(text_of(invented(board_cell())))
        content["settings"]["seeds"] = seeds
        write(root, content)
        assert any("seeds are" in problem for problem in problems(root)["lstm.json"])


def test_a_kappa_without_the_test_at_twice_the_length(root):
    content = json.loads(text_of(invented(board_cell(extrapolate=(20,)))))
    write(root, content)
    assert only_problem(root) == "was not tested at twice the longest length, 10"


def test_a_changed_working_tree(root, content):
    content["environments"][0]["dirty"] = True
    write(root, content)
    assert only_problem(root) == "ran from a working tree with uncommitted changes"
    content["environments"][0] |= {"dirty": None, "revision": None}
    write(root, content)
    assert "its commit is unknown" in only_problem(root)


def test_more_steps_than_the_protocol_allows(root, content):
    content["trials"][0]["steps"] = 10**6
    redo_digests(content)
    write(root, content)
    assert "cannot have ended by budget after 1000000 steps" in only_problem(root)


@pytest.mark.parametrize(("changes", "reason"), [
    ({"steps": 1, "best_step": 1}, "cannot have ended by budget after 1 steps"),
    ({"steps": 0, "best_step": 0}, "cannot have ended by budget after 0 steps"),
    ({"best_loss": -7.0}, "failed by budget with a loss of -7.0"),
    ({"reason": "futility", "steps": 100, "best_step": 50}, "cannot have ended by futility"),
    ({"reason": "diverged", "steps": 2**60}, "cannot have ended by diverged"),
])  # fmt: skip
def test_a_failure_that_cannot_be(root, content, changes, reason):
    next(t for t in content["trials"] if t["outcome"] == "failed").update(changes)
    redo_digests(content)
    write(root, content)
    first, *_ = problems(root)["lstm.json"]
    assert reason in first


@pytest.mark.parametrize(
    ("outcome", "changes", "is_true"),
    [
        ("failed", {"failure": "memorised", "training_loss": 1.0}, False),
        ("failed", {"failure": "unfit", "training_loss": 1e-3}, False),
        ("failed", {"failure": "unfit", "training_loss": None}, False),
        ("failed", {"failure": "diverged", "training_loss": 1.0}, False),
        ("passed", {"failure": "memorised", "training_loss": 1e-3}, False),
        ("failed", {"failure": "memorised", "training_loss": 1e-3}, True),
        ("failed", {"failure": "unfit", "training_loss": 1.0}, True),
    ],
)
def test_why_a_run_failed_must_go_with_how_it_ended(root, content, outcome, changes, is_true):
    row = next(row for row in content["trials"] if row["outcome"] == outcome)
    row.update(changes)
    redo_results(content)
    write(root, content)
    if is_true:
        assert problems(root) == {"lstm.json": ()}
    else:
        assert f"cannot be {changes['failure']}, having ended by" in only_problem(root)


def test_a_success_is_at_its_last_step(root, content):
    next(t for t in content["trials"] if t["outcome"] == "passed")["best_step"] = 3
    redo_digests(content)
    write(root, content)
    assert "cannot have ended by success" in only_problem(root)


@pytest.mark.parametrize(("accuracy", "reason"), [
    ({"10": {"accuracy": 0.9, "chance": 0.0}}, "has a wrong level of chance at length 10"),
    ({}, "has accuracies at []"),
    ({"10 ": {"accuracy": 0.9, "chance": 0.5}}, "has accuracies at ['10 ']"),
])  # fmt: skip
def test_a_test_that_cannot_be(root, content, accuracy, reason):
    next(t for t in content["trials"] if t["tested"])["accuracy"] = accuracy
    redo_digests(content)
    write(root, content)
    assert any(reason in problem for problem in problems(root)["lstm.json"])


def test_a_backend_that_the_model_has_not(root, content):
    content["settings"]["backend"] = "turbo"
    redo_digests(content)
    write(root, content, "quick-1/modadd.m-2.3-5/aligned/lstm.turbo.json")
    assert only_problem(root) == "backend 'turbo' is none of the model's (torch)"


def test_a_size_in_other_kinds_of_number(root, content):
    content["settings"]["size"] = {"width": 64.0, "layers": True}
    redo_digests(content)
    write(root, content)
    assert "its size is" in only_problem(root)


def test_data_of_a_trial_that_nobody_asked_for_is_not_made(root, content):
    content["trials"].append(dict(content["trials"][0], n_samples=10**15, learning_rate=0.5))
    redo_digests(content)
    write(root, content)
    assert only_problem(root).startswith("no search asks for the trial")


def test_one_file_that_cannot_be_looked_at_does_not_end_the_others_check(
    root, content, monkeypatch
):
    write(root, content)
    write(root, content, "quick-1/modadd/aligned/a.json")

    def broken(entry):
        raise MemoryError

    monkeypatch.setattr(validation, "_problems", broken)
    assert len(problems(root)) == 2
    assert any("cannot be looked at: MemoryError" in p for p in problems(root)["lstm.json"])


def test_lengths_with_a_gap_are_a_board_of_their_own(root):
    content = text_of(invented(board_cell(lengths=(3, 5))))
    write(root, content)
    assert "modadd.m-2.3+5/aligned" in only_problem(root)
    (root / "quick-1/modadd.m-2.3-5/aligned/lstm.json").unlink()
    write(root, content, "quick-1/modadd.m-2.3+5/aligned/lstm.json")
    assert problems(root) == {"lstm.json": ()}


def test_lengths_out_of_order(root):
    write(root, text_of(invented(board_cell(lengths=(4, 3, 5)))))
    (found,) = problems(root).values()
    assert "lengths are [4, 3, 5], expected each once, the shortest first" in found


def test_a_source_beside_a_registered_model(root, content):
    write(root, content | {"source": "import this"})
    assert only_problem(root) == "has a source, though lstm is not a file of one's own"


def test_a_duplicate(root, entry):
    write(root, text_of(entry))
    write(root, text_of(entry), "quick-1/modadd.m-2.3-5/aligned/lstm-2.json")
    found = problems(root)
    assert found["lstm.json"] == ()
    assert found["lstm-2.json"] == (
        "is a duplicate of quick-1/modadd.m-2.3-5/aligned/lstm.json: it has the same settings",
    )


def test_a_place_that_is_not_its_own(root, content):
    write(root, content, "quick-1/modadd/aligned/lstm.json")
    assert only_problem(root) == (
        "lies at quick-1/modadd/aligned/lstm.json, its settings belong at "
        "quick-1/modadd.m-2.3-5/aligned/lstm.json"
    )


OWN = '''"""Mine."""
import pathlib
pathlib.Path("executed").touch()
from kbench.models.rnn import RNN as Rnn
class Mine(Rnn):
    presets = {"quick": {"width": 8, "layers": 1}}
'''


@pytest.fixture
def own(tmp_path, monkeypatch):
    """An entry of a model in a file, and that file where a careless reader would load it."""
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(OWN)
    content = json.loads(text_of(invented(board_cell(model="mine.py:Mine"))))
    assert Path("executed").exists()
    Path("executed").unlink()
    assert content["source"] == OWN
    return content


def test_a_model_of_ones_own_is_held_to_its_source_and_never_executed(root, own):
    place = "quick-1/modadd.m-2.3-5/aligned/own.mine.Mine.json"
    write(root, own, place)
    kbench = [sys.executable, "-c", "from kbench.cli import main; main()"]
    done = subprocess.run(
        [*kbench, "validate", str(root), "--spot-check", "1"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not run again: that would execute mine.py:Mine" in done.stderr
    own["source"] += "# changed"
    write(root, own, place)
    digest = hashlib.sha256(own["source"].encode()).hexdigest()
    assert f"the digest of its source is sha256:{digest[:12]}…, not sha256:" in only_problem(root)
    own["source"] = None
    write(root, own, place)
    assert only_problem(root) == "model mine.py:Mine: its source is missing"
    # A version that only packaged models have must not lead the reader to the file either.
    own |= {"source": OWN, "settings": own["settings"] | {"model_version": 1}}
    write(root, own, place)
    assert "the digest of its source" in problems(root)["own.mine.Mine.json"][0]
    assert not Path("executed").exists()


def test_an_environment_that_is_not_there(root, content):
    content["trials"][0]["environment"] = 7
    write(root, content)
    assert "names environment 7" in problems(root)["lstm.json"][0]


def test_places_are_unlike_for_unlike_settings():
    cells = [
        board_cell(), board_cell(task_params={"m": 3}), board_cell(lengths=(3, 4)),
        board_cell(supervision="cot"), board_cell(model="gru"), board_cell(backend="other"),
        board_cell(distribution="uniform"),
    ]  # fmt: skip
    assert len({location(cell) for cell in cells}) == len(cells)
