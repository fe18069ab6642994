"""The command line as a process of its own that need not import torch first, which takes seconds.

A server process imports what is large, once, and each command is a fork of it: its own working
folder, output, exit code and workers. What the environment decides when Python starts is the
server's, but for PYTHONPATH, so that a test of that starts Python itself.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["torch", "pydantic", "typer", "rich.table", "kbench.training.loop"]
)


def kbench(
    *args: object, cwd: Path, env: Mapping[str, str] | None = None, timeout: float = 300
) -> subprocess.CompletedProcess:
    """Run `kbench args` in the folder cwd, as `subprocess.run` would with captured text."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("stdout", "stderr")]
        words = list(map(str, args))
        process = _CONTEXT.Process(
            target=_command, args=(words, cwd, files, dict(env or os.environ))
        )
        process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            raise subprocess.TimeoutExpired(["kbench", *words], timeout)
        said = [file.read_text("utf-8") for file in files]
    return subprocess.CompletedProcess(words, process.exitcode, *said)


def _command(words: list[str], cwd: Path, files: list[Path], environ: dict[str, str]) -> None:
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environ)
    sys.path[:0] = filter(None, environ.get("PYTHONPATH", "").split(os.pathsep))
    for descriptor, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdin, sys.stdout, sys.stderr = map(os.fdopen, range(3), "rww")
    sys.argv = ["kbench", *words]
    from kbench.cli import main

    main()
