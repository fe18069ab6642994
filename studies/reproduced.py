"""Make the tables of docs/reproduced.md, and the sentence of the README, from the committed runs.

    python studies/reproduced.py

The runs are in `benchmark/reproduce/results/`, one file for each experiment, as this leaves them:

    kbench reproduce NAME --json > NAME.json
    mv NAME.json benchmark/reproduce/results/
"""

from pathlib import Path

from kbench.reproduce.page import everything, rewritten

ROOT = Path(__file__).parent.parent
DOCUMENTS = (ROOT / "docs" / "reproduced.md", ROOT / "README.md")

if __name__ == "__main__":
    for document in DOCUMENTS:
        document.write_text(rewritten(document, everything()), "utf-8")
        print(document)
