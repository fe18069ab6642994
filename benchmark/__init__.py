"""kbench: how many samples a sequence model needs, and whether it shares them across lengths.

>>> import kbench
>>> results = kbench.run(model="lstm", task="modadd", supervision="aligned", lengths=(3, 4),
...                      seeds=1, progress=False)                              # doctest: +SKIP
>>> results[0].verdict                                                         # doctest: +SKIP
'sharing'
"""

from typing import TYPE_CHECKING, Any

from kbench.errors import KbenchError

if TYPE_CHECKING:
    from kbench.api import check, list_models, list_tasks, load, plan, run
    from kbench.report.callbacks import Callback
    from kbench.report.document import Result
    from kbench.report.results import Results

__version__ = "0.2.0"
__all__ = [
    "Callback",
    "KbenchError",
    "Result",
    "Results",
    "__version__",
    "check",
    "list_models",
    "list_tasks",
    "load",
    "plan",
    "run",
]

_PLACES = {
    "Callback": "kbench.report.callbacks",
    "Result": "kbench.report.document",
    "Results": "kbench.report.results",
} | dict.fromkeys(("check", "list_models", "list_tasks", "load", "plan", "run"), "kbench.api")


def __getattr__(name: str) -> Any:
    """What is used is imported then: `import kbench` loads no torch."""
    if name not in _PLACES:
        raise AttributeError(f"module 'kbench' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
