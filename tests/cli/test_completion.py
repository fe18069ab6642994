"""What the shell offers: the names that there are, told without loading torch."""

import os
import subprocess
import sys

import pytest

from kbench.cli import completion
from kbench.ops.backends import BACKENDS
from kbench.registry import models, tasks

COMPLETED = {
    "run --model transformer-": ["transformer-alibi", "transformer-nope"],
    "run --task mod": ["modadd"],
    "run --supervision ": ["outcome", "cot", "aligned"],
    "plan --protocol quick": ["quick", "quick-1", "quick-2"],
    "show --supervision al": ["aligned"],
    "check dense": ["dense-ssm"],
    "list mo": ["models"],
}


def test_every_registered_name_is_offered():
    assert completion.models("") == models.names()
    assert completion.tasks("") == tasks.names()
    assert set(completion.backends("")) == {"auto", *BACKENDS}


@pytest.mark.parametrize("line", COMPLETED)
def test_a_shell_completes(line):
    words = ["kbench", *line.split(" ")]
    env = {
        **os.environ,
        "_KBENCH_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    code = "import sys; from kbench.cli import main; sys.argv = ['kbench']\ntry: main()\n"
    code += "finally: assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert set(COMPLETED[line]) <= set(done.stdout.split())
    assert all(word.startswith(words[-1]) for word in done.stdout.split())
