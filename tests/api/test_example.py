"""The example in docs/, run by a Jupyter kernel, and what Ctrl-C leaves of a script."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "own_model.py"
IN_JUPYTER = """
import sys, jupytext
from nbclient import NotebookClient
notebook = jupytext.read(sys.argv[1])
NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
html = [o["data"].get("text/html", "") for c in notebook.cells if c.cell_type == "code"
        for o in c.outputs if o.output_type == "execute_result"]
pictures = [o for c in notebook.cells if c.cell_type == "code"
            for o in c.outputs if o.output_type == "execute_result" and "image/png" in o["data"]]
print(sum("<td>leaky.py:Leaky</td>" in text for text in html), len(pictures))
"""


@pytest.mark.slow
def test_the_example_runs_in_jupyter(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", IN_JUPYTER, str(EXAMPLE)],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "1 1\n"
    assert (tmp_path / "curves.svg").exists()


LONG = """
import kbench
results = kbench.run(model="transformer", task="modadd", supervision="cot", workers=2)
print("back", results[0].complete, len(results[0].trials) > 0)
"""


@pytest.mark.slow
def test_ctrl_c_gives_back_what_is_known(tmp_path):
    script = tmp_path / "long.py"
    script.write_text(LONG)
    process = subprocess.Popen(
        [sys.executable, script], cwd=tmp_path, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr
    for line in process.stderr:
        if re.search(r"(^|\D)[1-9]\d* of about \d+ trials", line):
            break
    time.sleep(1)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert out == "back False True\n", err
    assert "the same call resumes" in err
    assert "Traceback" not in err
