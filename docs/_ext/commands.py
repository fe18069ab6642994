"""A directive that writes the reference of the commands, from the commands themselves."""

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from typer.main import get_command

from kbench.cli import app
from kbench.registry import models, tasks


def section(name: str, command: Any) -> Iterator[str]:
    """Heading, what it does, and a table of what it takes, in Markdown."""
    shown = [p for p in command.params if not getattr(p, "hidden", False) and p.name != "help"]
    arguments = [p for p in shown if p.param_type_name == "argument"]
    words = (p.name.upper() if p.required else f"[{p.name.upper()}]" for p in arguments)
    yield from (f"## kbench {name}", "", "```")
    yield from (" ".join(("kbench", name, "[OPTIONS]", *words)), "```", "")
    yield from ((command.help or "").replace("\b", "").splitlines(), "")[0]
    yield from ("", "| | |", "|---|---|")
    for p in shown:
        names = p.name.upper() if p in arguments else ", ".join((*p.opts, *p.secondary_opts))
        text = " ".join((p.help or "").split()).replace("|", "\\|").replace("<", "\\<")
        given = p.default not in (None, (), [], False, "") and not callable(p.default)
        default = f" Default: `{p.default}`." if given and "Default" not in text else ""
        yield f"| `{names}` | {text}{default} |"
    yield ""


def parsed(directive: SphinxDirective, lines: list[str]) -> list[nodes.Node]:
    """Markdown as the nodes of a page, headings included."""
    holder = nodes.section()
    holder.document = directive.state.document
    directive.state.nested_parse(StringList(lines, "generated"), 0, holder, match_titles=True)
    return holder.children


class Commands(SphinxDirective):
    """```{kbench-commands}```"""

    def run(self) -> list[nodes.Node]:
        """Every command in the order of `kbench --help`."""
        return parsed(
            self,
            [
                line
                for name, command in get_command(app).commands.items()  # type: ignore[attr-defined]
                for line in section(name, command)
            ],
        )


class Registered(SphinxDirective):
    """```{kbench-registered} models```: the docstrings of all that is registered."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """In alphabetical order, by the names that the command line knows."""
        registry = {"models": models, "tasks": tasks}[self.arguments[0]]
        lines = []
        for name in registry.names():
            cls = registry[name].cls
            module = sys.modules[cls.__module__]
            about = inspect.cleandoc(module.__doc__ or "") if self.arguments[0] == "models" else ""
            of_class = inspect.cleandoc(cls.__doc__ or "")
            text = f"{about}\n\n{of_class}".replace("*", "\\*").replace("_", "\\_")
            source = f"{self.arguments[0]}/{Path(module.__file__ or '').name}"
            lines += [f"## {name}", "", *text.splitlines(), "", f"Source: `{source}`", ""]
        return parsed(self, lines)


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_directive("kbench-commands", Commands)
    app.add_directive("kbench-registered", Registered)
    return {"parallel_read_safe": True}
