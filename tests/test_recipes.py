"""Recipes and looks, as a protocol brings them."""

import dataclasses
import json

import pytest
import yaml
from conftest import board_cell
from test_protocol import BRACKET, changed, named, refusal, without

from kbench import protocol, recipe
from kbench.errors import KbenchError
from kbench.protocol import from_dict
from kbench.registry import tasks
from kbench.statistics.search import Probe
from kbench.study.parameters import preset_of

WARM = {
    "name": "warm", "learning_rate": 1e-3, "batch_size": 32, "betas": [0.9, 0.98],
    "weight_decay": 0.1, "warmup": 500, "clip": 1,
}  # fmt: skip


def with_recipes(*recipes):
    """A protocol that brings its own."""
    content = without(without(BRACKET, ("learning_rates",)), ("training", "batch_size"))
    return content | {"recipes": list(recipes)}


def test_a_protocol_brings_its_own_recipes():
    short = {"name": "short", "learning_rate": 3e-3, "batch_size": 8}
    warm, other = from_dict(with_recipes(WARM, short), "mine.yaml").recipes
    assert dataclasses.asdict(warm) == WARM | {"betas": (0.9, 0.98), "clip": 1.0}
    assert other == recipe.plain(3e-3, 8)
    assert str(warm) == (
        "warm (learning rate 0.001, batches of 32, betas 0.9 0.98, weight decay 0.1, warmup 500, "
        "clip 1)"
    )


def test_recipes_are_equal_by_their_numbers():
    plain = recipe.plain(3e-3, 8)
    assert dataclasses.replace(plain, name="other") == plain
    for change in ({"learning_rate": 1e-3}, {"batch_size": 9}, {"betas": (0.9, 0.99)},
                   {"weight_decay": 0.1}, {"warmup": 1}, {"clip": 1.0}):  # fmt: skip
        assert dataclasses.replace(plain, **change) != plain


@pytest.mark.parametrize("field", ["name", "learning_rate", "batch_size"])
def test_what_a_recipe_must_say_is_named(field):
    assert named(field, refusal(with_recipes({k: v for k, v in WARM.items() if k != field})))


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", ""), ("name", 7), ("name", "a\x1bb"), ("learning_rate", 1e30), ("warmup", 10**12),
     ("learning_rate", 0), ("learning_rate", "1e-3"), ("batch_size", 0),
     ("batch_size", 2.5), ("betas", [0.9]), ("betas", [0.9, 1]), ("betas", 0.9),
     ("betas", ["a", 0.9]), ("weight_decay", -1), ("warmup", -1), ("warmup", 0.5), ("clip", -1),
     ("clip", None), ("clip", float("nan")), ("optimizer", "sgd")],
)  # fmt: skip
def test_a_recipe_that_cannot_be_meant_is_refused(field, value):
    assert named(field, refusal(with_recipes(WARM | {field: value})))


@pytest.mark.parametrize("recipes", [[], 7, None, [7], [WARM, WARM]], ids=repr)
def test_recipes_are_a_list_of_different_ones(recipes):
    assert named("recipes?", refusal(with_recipes() | {"recipes": recipes}))


def test_two_recipes_may_share_neither_name_nor_numbers():
    assert named("recipes", refusal(with_recipes(WARM, WARM | {"learning_rate": 1e-2})))
    assert named("recipes", refusal(with_recipes(WARM, WARM | {"name": "other"})))


@pytest.mark.parametrize("looks", [[4, 6], [3, 3], [3, 2], 7, ["x"], [3, 4.5]])
def test_looks_that_cannot_be_are_refused(looks):
    content = BRACKET | {"seeds": {"count": 3, "first": 1, "step": 2, "looks": looks}}
    with pytest.raises(KbenchError, match="looks"):
        from_dict(content, "mine.yaml")


@pytest.fixture
def versions(tmp_path, monkeypatch):
    """Packaged are quick-1, quick-2, quick-10 and cpu-3."""
    for name, version in (("quick", 1), ("quick", 2), ("quick", 10), ("cpu", 3)):
        content = BRACKET | {"name": name, "version": version}
        (tmp_path / f"{name}-{version}.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.setattr(protocol.importlib.resources, "files", lambda package: tmp_path)


def test_a_name_alone_is_its_last_version(versions):
    assert protocol.names() == ["cpu", "quick"]
    assert protocol.ids() == ["cpu-3", "quick-1", "quick-2", "quick-10"]
    assert protocol.load("quick").id == "quick-10"
    assert protocol.load("quick-2").id == "quick-2"
    assert protocol.word_for("quick-10") == "quick"
    assert protocol.word_for("quick-2") == "quick-2"
    with pytest.raises(KbenchError, match="did you mean 'quick-1'"):
        protocol.load("quick-11")


def test_an_earlier_version_may_not_be_taken_either(versions, tmp_path):
    path = tmp_path / "mine.yml"
    path.write_text(yaml.safe_dump(BRACKET | {"name": "quick", "version": 99}))
    with pytest.raises(KbenchError, match="the name 'quick' is taken"):
        protocol.load(str(path))


@pytest.mark.parametrize(
    "far_off",
    [
        {"patience": 30, "loss": 0.3},
        {"patience": 0, "loss": 0.3, "by_heart": 0.1},
        {"patience": 30, "loss": 1e-9, "by_heart": 0.1},
        {"patience": 30, "loss": 0.3, "by_heart": 0},
        {"patience": 30, "loss": 0.3, "by_heart": 1.5},
        30,
        {},
        False,
    ],
    ids=str,
)
def test_what_ends_runs_that_are_far_off_must_make_sense(far_off):
    futility = BRACKET["training"]["futility"] | {"far_off": far_off}
    assert "far_off" in refusal(changed(BRACKET, ("training", "futility"), futility))


def test_what_ends_runs_that_are_far_off_is_part_of_the_key_where_there_is_any():
    cell = board_cell()
    far = protocol.FarOff(patience=300, loss=0.3, by_heart=0.1)
    plain = cell.trial(cell.joint, 1, Probe(20, cell.protocol.recipes[0]))
    assert plain.spec()["training"]["futility"] == {"patience": 150, "slack": 2.0}
    futility = dataclasses.replace(plain.training.futility, far_off=far)
    training = dataclasses.replace(plain.training, futility=futility)
    assert dataclasses.replace(plain, training=training).key() != plain.key()


def test_a_protocol_may_have_sizes_of_tasks_of_its_own():
    own = {"modadd": {"m": 7, "lengths": [3, 5]}}
    found = from_dict(BRACKET | {"tasks": own}, "mine.yaml")
    assert found.tasks == {"modadd": {"m": 7, "lengths": (3, 5)}}
    assert preset_of(tasks["modadd"], found) == {"m": 7, "lengths": (3, 5)}
    assert preset_of(tasks["parity"], found) == tasks["parity"].preset("quick")
    again = json.loads(json.dumps(dataclasses.asdict(found)))
    assert from_dict(again, "in the store") == found
    hash(found)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"modad": {"m": 7}}, "task in protocol mine.yaml: tasks: 'modad'; did you mean 'modadd'"),
        ({"modadd": 7}, "expected a mapping of fields, got 7"),
        ([], "expected a mapping of fields"),
    ],
)
def test_sizes_of_tasks_that_make_no_sense_are_refused(wrong, said):
    assert said in refusal(BRACKET | {"tasks": wrong})
