"""Registration, discovery and the errors for names that do not exist."""

import dataclasses
import importlib
import itertools
import sys
from pathlib import Path

import pytest

from kbench.errors import KbenchError
from kbench.registry import Registry, models, tasks

fresh = itertools.count()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An importable package, its registry `things` in it, and no module yet."""
    name = f"things_{next(fresh)}"
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "from kbench.registry import Registry\nthings = Registry('thing', __name__)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    for module in [m for m in sys.modules if m.partition(".")[0] == name]:
        del sys.modules[module]


def registry_of(package):
    return importlib.import_module(package.name).things


def add_file(package, stem, name, cls="Thing"):
    (package / f"{stem}.py").write_text(
        f"from {package.name} import things\n\n"
        f"@things.register({name!r}, version=3, presets={{'quick': {{'width': 8}}}})\n"
        f"class {cls}:\n    pass\n"
    )


def message_of(refused):
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_file_dropped_into_the_package_is_all_it_takes(package):
    add_file(package, "pear", "pear")
    add_file(package, "apple", "apple", cls="Apple")
    things = registry_of(package)
    assert things.names() == ["apple", "pear"]
    entry = things["apple"]
    assert entry.cls is importlib.import_module(f"{package.name}.apple").Apple
    assert (entry.name, entry.version) == ("apple", 3)
    assert entry.preset("quick") == {"width": 8}


def test_a_name_is_found_before_anyone_lists_the_names(package):
    add_file(package, "pear", "pear")
    assert registry_of(package)["pear"].name == "pear"


def test_nothing_is_imported_before_a_name_is_asked_for(package):
    # Models import torch, and `kbench --help` must not wait for it.
    add_file(package, "pear", "pear")
    registry_of(package)
    assert f"{package.name}.pear" not in sys.modules


def test_a_module_imported_by_hand_does_not_hide_the_others(package):
    add_file(package, "pear", "pear")
    add_file(package, "apple", "apple")
    importlib.import_module(f"{package.name}.pear")
    assert registry_of(package).names() == ["apple", "pear"]


def test_an_empty_package_has_no_names(package):
    assert registry_of(package).names() == []


def test_a_file_that_does_not_import_is_never_passed_over(package):
    add_file(package, "apple", "apple")
    (package / "broken.py").write_text("raise RuntimeError('no such luck')\n")
    things = registry_of(package)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no such luck"):
            things.names()


def test_one_name_in_two_files_is_refused_and_both_are_named(package):
    add_file(package, "apple", "fruit", cls="Apple")
    add_file(package, "pear", "fruit", cls="Pear")
    with pytest.raises(KbenchError, match="'fruit' is registered twice") as refused:
        registry_of(package).names()
    message = message_of(refused)
    assert f"{package.name}.apple.Apple" in message
    assert f"{package.name}.pear.Pear" in message


def test_a_second_class_does_not_replace_the_first(package):
    things = registry_of(package)

    @things.register("fruit", version=1, presets={})
    class First:
        pass

    with pytest.raises(KbenchError, match="thing 'fruit' is registered twice"):

        @things.register("fruit", version=2, presets={})
        class Second:
            pass

    assert things["fruit"].cls is First


def test_two_registries_may_use_one_name(package):
    others = Registry("other", package.name)
    for registry in (registry_of(package), others):
        registry.register("fruit", version=1, presets={})(type("Fruit", (), {}))
    assert others["fruit"].cls is not registry_of(package)["fruit"].cls


def test_the_decorator_returns_the_class_itself(package):
    cls = type("Fruit", (), {})
    assert registry_of(package).register("fruit", version=1, presets={})(cls) is cls


def test_an_entry_is_immutable(package):
    add_file(package, "pear", "pear")
    with pytest.raises(dataclasses.FrozenInstanceError):
        registry_of(package)["pear"].version = 4


def test_an_unknown_name_is_refused_with_the_nearest_and_all_known(package):
    add_file(package, "pear", "pear")
    add_file(package, "apple", "apple")
    with pytest.raises(KbenchError) as refused:
        registry_of(package)["aple"]
    assert message_of(refused) == (
        "unknown thing 'aple'; did you mean 'apple'? (known: apple, pear)"
    )


def test_a_name_like_no_other_gets_no_suggestion(package):
    add_file(package, "pear", "pear")
    with pytest.raises(KbenchError) as refused:
        registry_of(package)["zzz"]
    assert message_of(refused) == "unknown thing 'zzz' (known: pear)"


def test_an_unknown_preset_is_refused_with_the_nearest(package):
    add_file(package, "pear", "pear")
    with pytest.raises(KbenchError, match="preset of pear 'quik'; did you mean 'quick'") as refused:
        registry_of(package)["pear"].preset("quik")
    message_of(refused)


@pytest.mark.parametrize(
    ("registry", "typo", "near"), [(models, "lstmm", "lstm"), (tasks, "modad", "modadd")]
)
def test_the_packaged_registries_suggest_the_nearest(registry, typo, near):
    with pytest.raises(KbenchError, match=f"did you mean '{near}'"):
        registry[typo]


@pytest.mark.parametrize("registry", [models, tasks], ids=["models", "tasks"])
def test_every_file_is_registered_and_its_name_is_the_registry_key(registry):
    # but for those that begin with _, which help another
    folder = Path(importlib.import_module(registry.package).__file__).parent
    files = {f.stem for f in folder.glob("[!_]*.py")}
    assert {name.replace("-", "_") for name in registry.names()} == files
    for name in registry.names():
        module = registry[name].cls.__module__
        assert module == f"{registry.package}.{name.replace('-', '_')}"
        assert registry[name].version >= 1
