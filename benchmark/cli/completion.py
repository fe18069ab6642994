"""What the shell offers for the values of options: names, told without importing torch.

`kbench --install-completion` sets it up. Where nothing fits, shells offer files.
"""

import importlib.metadata
import importlib.util
import pkgutil
from collections.abc import Callable, Iterable

Offer = Callable[[str], list[str]]
"""From the beginning of a word to what it may become."""


def _of(names: Callable[[], Iterable[str]]) -> Offer:
    def offer(incomplete: str) -> list[str]:
        return [name for name in names() if name.startswith(incomplete)]

    return offer


def _registered(package: str) -> list[str]:
    """One file one name, and what installed packages offer."""
    spec = importlib.util.find_spec(package)
    found = pkgutil.iter_modules(spec.submodule_search_locations if spec else [])
    files = [module.name.replace("_", "-") for module in found if module.name[0] != "_"]
    return sorted({*files, *importlib.metadata.entry_points(group=package).names})


def _protocols() -> list[str]:
    from kbench import protocol

    return [*protocol.names(), *protocol.ids()]


def _supervisions() -> Iterable[str]:
    from kbench.data.supervision import SUPERVISIONS

    return SUPERVISIONS


def _distributions() -> Iterable[str]:
    from kbench.data.splits import DISTRIBUTIONS

    return DISTRIBUTIONS


def _executors() -> Iterable[str]:
    from kbench.study.executors.choice import EXECUTORS

    return EXECUTORS


models = _of(lambda: _registered("kbench.models"))
tasks = _of(lambda: _registered("kbench.tasks"))
protocols = _of(_protocols)
supervisions = _of(_supervisions)
distributions = _of(_distributions)
executors = _of(_executors)
devices = _of(lambda: ("cpu", "cuda"))
backends = _of(lambda: ("auto", "torch", "numba", "mamba-ssm"))
matches = _of(lambda: ("params",))
