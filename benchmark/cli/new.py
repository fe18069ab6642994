"""`kbench new-model` and `kbench new-task`: a file to start from."""

import keyword
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from kbench.cli.console import out
from kbench.errors import KbenchError

FileArgument = Annotated[Path, typer.Argument(help="The file to write, as in my_idea.py.")]


def new_model(file: FileArgument) -> None:
    """Write a starter model, which passes `kbench check`, and say what to type next."""
    _write(file, "model", "my_model.py", "MyModel")


def new_task(file: FileArgument) -> None:
    """Write a starter task, which `kbench run` can measure on, and say what to type next."""
    _write(file, "task", "my_task.py", "MyTask")


def _write(file: Path, kind: str, sample_file: str, sample_class: str) -> None:
    """The template under the name of the file and its class; raises KbenchError."""
    name = class_name(file)
    template = resources.files("kbench.cli").joinpath("templates", f"{kind}.py.txt")
    text = template.read_text("utf-8").replace(sample_file, str(file)).replace(sample_class, name)
    try:
        with file.open("x", encoding="utf-8") as fresh:  # never over a file that is there
            fresh.write(text)
    except FileExistsError:
        raise KbenchError(f"{file} is there already; nothing was written") from None
    except FileNotFoundError:
        raise KbenchError(f"{file} cannot be written: no such folder") from None
    except OSError as error:
        raise KbenchError(f"{file} cannot be written: {error.strerror}") from None
    _, _, after = text.partition("# Next:\n")
    commands = [line.removeprefix("#").strip() for line in after.splitlines()]
    lines = [f"{file} has the class {name}. Next:", *(f"  {command}" for command in commands)]
    out.print("\n".join(lines), highlight=False, soft_wrap=True)


def class_name(file: Path) -> str:
    """`MyModel` for my_model.py; raises KbenchError where the name makes none."""
    name = "".join(part[:1].upper() + part[1:] for part in file.stem.split("_"))
    if file.suffix != ".py" or not file.stem.isidentifier() or keyword.iskeyword(file.stem):
        raise KbenchError(f"a Python file is needed, named as in my_idea.py, got {str(file)!r}")
    if not name.isidentifier() or keyword.iskeyword(name):
        raise KbenchError(f"{file.name!r} makes no class name; name the file as in my_idea.py")
    return name
