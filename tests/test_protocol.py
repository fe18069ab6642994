"""Protocols load whole or not at all: each thing out of place is one line that names it."""

import copy
import dataclasses
import json
import re

import pytest
import yaml

from kbench import protocol
from kbench.errors import KbenchError
from kbench.protocol import from_dict, load
from kbench.registry import models, tasks

BRACKET = {
    "name": "mine",
    "version": 2,
    "presets": "quick",
    "learning_rates": [3.0e-3, 1.0e-3],
    "seeds": {"count": 3, "first": 10, "step": 5},
    "training": {
        "eps": 0.01,
        "steps": 100,
        "batch_size": 64,
        "max_validation": 500,
        "max_validation_fraction": 0.2,
        "futility": {"patience": 20, "slack": 2.0},
    },
    "search": {"strategy": "bracket", "n_max": 1000, "resolution": 1.5},
}
PAPER = {
    **BRACKET,
    "search": {"strategy": "paper", "n_max": 16_000_000, "multiplier": 1000, "max_sizes": 20},
}
RULES = {"bracket": BRACKET, "paper": PAPER}


def leaves(content, path=()):
    """The path of every field that holds a scalar or a list."""
    for key, value in content.items():
        yield from leaves(value, (*path, key)) if isinstance(value, dict) else [(*path, key)]


def changed(content, path, value):
    content = copy.deepcopy(content)
    *above, last = path
    inner = content
    for key in above:
        inner = inner[key]
    inner[last] = value
    return content


def without(content, path):
    content = copy.deepcopy(content)
    *above, last = path
    inner = content
    for key in above:
        inner = inner[key]
    del inner[last]
    return content


def refusal(content, where="mine.yaml"):
    """The message with which it is refused, which is one line and says where."""
    with pytest.raises(KbenchError) as refused:
        from_dict(content, where)
    message = str(refused.value)
    assert "\n" not in message
    assert where in message
    return message


def named(field, message):
    """Is the field there as a word? (`step` is also in `steps`)"""
    return re.search(rf"\b{field}\b", message)


def write(path, content):
    path.write_text(yaml.safe_dump(content))
    return str(path)


FIELDS = sorted({path for content in RULES.values() for path in leaves(content)})
every_field = pytest.mark.parametrize("path", FIELDS, ids=".".join)
SECTIONS = [(), ("seeds",), ("training",), ("training", "futility"), ("search",)]


def rule_with(path):
    """The example that has this field."""
    return PAPER if path[-1] in PAPER["search"] and path[0] == "search" else BRACKET


# The packaged protocols


@pytest.mark.parametrize("id", protocol.ids())
def test_a_packaged_protocol_loads_under_its_own_name(id):
    loaded = load(id)
    assert loaded.id == id == f"{loaded.name}-{loaded.version}"
    assert protocol.newest()[loaded.name] in protocol.ids()
    assert loaded.version >= 1
    assert all(r[name].preset(loaded.presets) for r in (models, tasks) for name in r.names())
    assert len(set(loaded.seeds.values())) == max(loaded.seeds.count, *loaded.seeds.looks, 0)


def test_there_is_a_protocol_for_a_first_result():
    assert "quick" in protocol.names()


@pytest.mark.parametrize("name", protocol.names())
def test_a_protocol_comes_back_whole_from_the_json_of_the_store(name):
    loaded = load(name)
    stored = json.loads(json.dumps(dataclasses.asdict(loaded), allow_nan=False))
    assert from_dict(stored, "in the store") == loaded


@pytest.mark.parametrize("name", protocol.names())
def test_a_protocol_is_frozen_all_the_way_down(name):
    loaded = load(name)
    parts = [loaded, loaded.seeds, loaded.training, loaded.search, loaded.training.futility]
    for part in filter(None, parts):
        for field in dataclasses.fields(part):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(part, field.name, getattr(part, field.name))
    hash(loaded)  # raises where a list or a dictionary is left inside


# From plain values


@pytest.mark.parametrize("rule", RULES)
def test_every_value_arrives_where_it_belongs(rule):
    built = dataclasses.asdict(from_dict(content := RULES[rule], "mine.yaml"))
    expected = {
        **content,
        "recipes": (
            adam("adam-0.003", 3e-3),
            adam("adam-0.001", 1e-3),
        ),
        "training": {k: v for k, v in content["training"].items() if k != "batch_size"},
        "by_length": False,
        "confidence": 0.96,
        "seeds": {**content["seeds"], "looks": ()},
    }
    del expected["learning_rates"]
    expected["training"]["futility"] = {**content["training"]["futility"], "far_off": None}
    expected["training"]["only_new_positions"], expected["tasks"] = False, {}
    if rule == "bracket":
        expected["search"] = {**content["search"], "audit": False, "likeliest_first": False}
    assert built == expected


def adam(name, rate):
    """Of a recipe without more, all the numbers."""
    return {
        "name": name, "learning_rate": rate, "batch_size": 64, "betas": (0.9, 0.999),
        "weight_decay": 0.0, "warmup": 0, "clip": 0.0,
    }  # fmt: skip


@pytest.mark.parametrize(("looks", "confidence"), [([3, 6], 0.985), ([3, 4, 5, 6], 0.99)])
def test_several_looks_at_the_seeds_need_more_confidence(looks, confidence):
    content = BRACKET | {"seeds": {"count": 3, "first": 1, "step": 2, "looks": looks}}
    made = from_dict(content, "mine.yaml")
    assert made.confidence == confidence
    assert made.seeds.values() == tuple(range(1, 2 * looks[-1], 2))
    assert from_dict(content | {"confidence": 0.97}, "mine.yaml").confidence == 0.97


def test_reading_leaves_the_content_as_it_was():
    content = copy.deepcopy(BRACKET)
    from_dict(content, "mine.yaml")
    assert content == BRACKET


def test_a_protocol_may_have_no_futility_stop():
    content = changed(BRACKET, ("training", "futility"), None)
    assert from_dict(content, "mine.yaml").training.futility is None


def test_a_whole_number_will_do_where_a_fraction_may_stand():
    assert from_dict(changed(BRACKET, ("training", "eps"), 1), "mine.yaml").training.eps == 1.0


def test_seeds_count_up_from_the_first():
    seeds = from_dict(BRACKET, "mine.yaml").seeds
    assert seeds.values() == (10, 15, 20)
    assert seeds.values(5) == (10, 15, 20, 25, 30)


@every_field
def test_a_missing_field_is_named(path):
    assert named(path[-1], refusal(without(rule_with(path), path)))


@pytest.mark.parametrize("section", [("seeds",), ("training",), ("search",)], ids=".".join)
def test_a_missing_section_is_named(section):
    assert named(section[-1], refusal(without(BRACKET, section)))


def test_the_futility_stop_cannot_be_left_out_by_accident():
    assert "futility" in refusal(without(BRACKET, ("training", "futility")))


@pytest.mark.parametrize("section", SECTIONS, ids=".".join)
@pytest.mark.parametrize("rule", RULES)
def test_an_unknown_field_is_named(rule, section):
    assert "'epochs'" in refusal(changed(RULES[rule], (*section, "epochs"), 3))


def test_a_misspelt_field_is_refused_with_the_nearest():
    message = refusal(changed(BRACKET, ("training", "max_validations"), 64))
    assert "did you mean 'max_validation'" in message


def test_a_field_of_the_other_search_rule_is_refused():
    assert "'multiplier'" in refusal(changed(BRACKET, ("search", "multiplier"), 10))
    assert "'resolution'" in refusal(changed(PAPER, ("search", "resolution"), 1.5))


@every_field
@pytest.mark.parametrize("value", [None, True, [1], {"a": 1}], ids=repr)
def test_a_value_of_the_wrong_type_is_refused_and_the_field_named(path, value):
    if path == ("learning_rates",) and value == [1]:
        value = 1e-3
    assert named(path[-1], refusal(changed(rule_with(path), path, value)))


@every_field
def test_text_and_numbers_are_not_mixed_up(path):
    wrong = 7 if path[-1] in {"name", "presets", "strategy"} else "7"
    assert named(path[-1], refusal(changed(rule_with(path), path, wrong)))


@pytest.mark.parametrize("section", SECTIONS, ids=".".join)
@pytest.mark.parametrize("value", [3, "text", [1, 2]], ids=repr)
def test_a_section_that_is_no_mapping_is_refused(section, value):
    message = refusal(changed(BRACKET, section, value) if section else value)
    assert section == () or named(section[-1], message)


def value_at(path):
    value = rule_with(path)
    for key in path:
        value = value[key]
    return value


WHOLE = [path for path in FIELDS if isinstance(value_at(path), int)]


@pytest.mark.parametrize("path", WHOLE, ids=".".join)
def test_a_count_must_be_whole(path):
    assert named(path[-1], refusal(changed(rule_with(path), path, 2.5)))


NAN, INF = float("nan"), float("inf")
HUGE = [
    (("name",), "a\x1b[31mb"), (("name",), "../up"), (("name",), "x" * 65), (("version",), 10**12),
    (("training", "steps"), 10**40), (("training", "eps"), 1e30),
    (("training", "max_validation"), 10**12), (("training", "futility", "patience"), 10**12),
    (("seeds", "count"), 10**6), (("search", "resolution"), 1.0000000001),
    (("search", "resolution"), 1e12), (("search", "multiplier"), 1 << 70),
    (("search", "max_sizes"), 10**9),
]  # fmt: skip
NONSENSE = [
    *HUGE,
    (("name",), ""),
    (("version",), 0),
    (("version",), -1),
    (("learning_rates",), []),
    (("learning_rates",), [0.0]),
    (("learning_rates",), [-1e-3]),
    (("learning_rates",), [1e-3, 1e-3]),
    (("learning_rates",), [1, 1.0]),
    (("learning_rates",), [True]),
    (("learning_rates",), ["1e-3"]),  # what YAML 1.1 makes of 1e-3
    (("learning_rates",), [NAN, 1e-3]),
    (("learning_rates",), [1e-3, NAN]),
    (("learning_rates",), [INF]),
    (("seeds", "count"), 0),
    (("seeds", "step"), 0),
    (("seeds", "first"), -1),
    (("training", "eps"), 0),
    (("training", "eps"), -0.1),
    (("training", "eps"), NAN),
    (("training", "eps"), INF),
    (("training", "steps"), 0),
    (("training", "batch_size"), 0),
    (("training", "max_validation"), 0),
    (("training", "max_validation_fraction"), 0),
    (("training", "max_validation_fraction"), 1),
    (("training", "max_validation_fraction"), NAN),
    (("training", "futility", "slack"), 0),
    (("training", "futility", "slack"), -1),
    (("training", "futility", "slack"), NAN),
    (("training", "futility", "patience"), 0),
    (("search", "strategy"), "binary"),
    (("search", "strategy"), ["paper"]),
    (("search", "n_max"), 0),
    (("search", "resolution"), 1),
    (("search", "resolution"), NAN),
    (("search", "resolution"), INF),
    (("search", "multiplier"), 1),
    (("search", "max_sizes"), 1),
]


@pytest.mark.parametrize(
    ("path", "value"), NONSENSE, ids=[f"{'.'.join(path)}={value!r}" for path, value in NONSENSE]
)
def test_a_value_that_cannot_be_meant_is_refused_and_the_field_named(path, value):
    assert named(path[-1], refusal(changed(rule_with(path), path, value)))


def test_a_misspelt_strategy_is_refused_with_the_nearest():
    message = refusal(changed(BRACKET, ("search", "strategy"), "braket"))
    assert "did you mean 'bracket'" in message


# Files


@pytest.mark.parametrize("suffix", [".yaml", ".yml"])
@pytest.mark.parametrize("rule", RULES)
def test_a_protocol_of_your_own_is_loaded_by_path(tmp_path, rule, suffix):
    path = write(tmp_path / f"other{suffix}", RULES[rule])
    assert load(path) == from_dict(RULES[rule], path)


@pytest.mark.parametrize("name", protocol.names())
def test_a_protocol_of_your_own_may_not_take_a_packaged_name(tmp_path, name):
    path = write(tmp_path / "mine.yaml", {**BRACKET, "name": name})
    with pytest.raises(KbenchError, match=f"the name '{name}' is taken"):
        load(path)


def test_a_file_in_the_way_does_not_replace_a_packaged_protocol(tmp_path, monkeypatch):
    packaged = load("quick")
    monkeypatch.chdir(tmp_path)
    for file in ("quick", "quick.yaml"):
        write(tmp_path / file, BRACKET)
    assert load("quick") == packaged


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(KbenchError, match="unknown protocol 'quik'; did you mean 'quick'"):
        load("quik")


FILES = {
    "not YAML": b"name: [",
    "two lines that are not YAML": b"name: [\nversion: ]\n",
    "empty": b"",
    "a list": b"- name\n- version\n",
    "a scalar": b"quick\n",
    "not text": b"\xff\xfe\x00name",
    "a date that is none": b"name: 2020-13-45\n",
}


@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_a_file_that_holds_no_protocol_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(KbenchError) as refused:
        load(str(path))
    assert "\n" not in str(refused.value)
    assert "mine.yaml" in str(refused.value)


def test_a_file_cannot_run_code(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(f"!!python/object/apply:os.mkdir [{tmp_path / 'was_here'}]\n")
    with pytest.raises(KbenchError):
        load(str(path))
    assert not (tmp_path / "was_here").exists()


def test_a_field_given_twice_is_refused(tmp_path):
    # Which of the two counts would be anybody's guess.
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(BRACKET) + "version: 3\n")
    with pytest.raises(KbenchError, match="version"):
        load(str(path))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(KbenchError, match=r"gone\.yaml.*No such file") as refused:
        load(str(tmp_path / "gone.yaml"))
    assert "\n" not in str(refused.value)


def test_a_file_of_brackets_is_one_line(tmp_path):
    path = tmp_path / "deep.yaml"
    path.write_text("[" * 5000)
    with pytest.raises(KbenchError, match="nested too deep|is not YAML"):
        load(str(path))
