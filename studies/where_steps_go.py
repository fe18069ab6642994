"""Which runs the steps of the committed boards went into, by protocol.

python studies/where_steps_go.py          # seconds
"""

import json
from collections import Counter, defaultdict
from pathlib import Path

BOARDS = Path(__file__).parents[1] / "leaderboards"
KINDS = {
    "passed": "passing",
    "wasted": "failing, at a size where another rate passes",
    "futility": "failing, given up as futile",
    "budget": "failing, to the end of the budget",
    "diverged": "diverged",
}


def kinds(trials: list[dict]) -> Counter[str]:
    """Steps by kind of run, of one entry."""
    at_size = defaultdict(list)
    for trial in trials:
        at_size[(*trial["lengths"], trial["seed"], trial["n_samples"])].append(trial)
    steps: Counter[str] = Counter()
    for together in at_size.values():
        passes = any(trial["outcome"] == "passed" for trial in together)
        for trial in together:
            failed = "wasted" if passes else trial["reason"]
            steps["passed" if trial["outcome"] == "passed" else failed] += trial["steps"]
    return steps


def main() -> None:
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for path in sorted(BOARDS.rglob("*.json")):
        entry = json.loads(path.read_text("utf-8"))
        if "trials" in entry:
            found[entry["settings"]["protocol"]] += kinds(entry["trials"])
    print("| steps in runs that are |", " | ".join(found), "|")
    print("|" + "---|" * (1 + len(found)))
    for kind, words in KINDS.items():
        shares = (f"{steps[kind] / steps.total():.1%}" for steps in found.values())
        print(f"| {words} |", " | ".join(shares), "|")
    print("| steps |", " | ".join(f"{steps.total():,}" for steps in found.values()), "|")


if __name__ == "__main__":
    main()
