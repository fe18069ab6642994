"""Verdicts, ranks and claims of the committed entries, by two versions of kbench side by side.

git worktree add old 931ce04              # the last commit with the first estimator
(cd old && pip install -e . && python ../studies/verdicts.py ../leaderboards > ../old.json)
pip install -e . && python studies/verdicts.py leaderboards > new.json
python studies/verdicts.py old.json new.json
"""

import json
import sys
from pathlib import Path


def dumped(root: Path) -> dict:
    """What the installed kbench says of the entries."""
    from kbench.leaderboard.board import load, protocols, ranking
    from kbench.leaderboard.claims import evaluate
    from kbench.leaderboard.text import rank_text

    rows = load(root)
    ranks = {}
    for protocol, of in protocols(rows).items():
        tasks = sorted({row.task for row in of if row.has_kappa})
        for task in tasks if len(tasks) == 1 else ["all tasks", *tasks]:
            scores = ranking([r for r in of if task in ("all tasks", r.task)])
            for s in scores:
                ranks[f"{protocol}, {task}, {s.model}"] = rank_text(s, scores)
    return {
        "verdicts": {
            str(row.place): [
                row.verdict,
                row.kappa.low,
                row.kappa.high,
                len(row.entry.settings.seeds),
            ]
            for row in rows
            if row.has_kappa
        },
        "ranks": ranks,
        "claims": {claim.id: claim.verdict for claim in evaluate(rows)},
    }


def ends(low: float | None, high: float | None) -> str:
    """An interval in words."""
    if low is None:
        return "–" if high is None else f"< {high:.3g}"
    return f"> {low:.3g}" if high is None else f"{low:.3g} – {high:.3g}"


def why(verdict: str, low: float | None, high: float | None, seeds: int) -> str:
    """What the new verdict rests on."""
    if verdict == "not-learned":
        return f"no seed learns all lengths together, and {seeds} seeds are too few to bound κ"
    if verdict == "not-identified" and low is None and high is None:
        return f"{seeds} seeds do not bound κ"
    if verdict == "not-identified":
        return f"{seeds} seeds leave κ at {ends(low, high)}"
    return f"by all {seeds} seeds: {ends(low, high)}"


def compared(old: dict, new: dict) -> None:
    """Print what changed."""
    before, after = old["verdicts"], new["verdicts"]
    moved = [p for p in after if before[p][0] != after[p][0]]
    empty = [p for p in moved if (before[p][0], after[p][0]) == ("not-identified", "not-learned")]
    print(f"{len(moved)} of {len(after)} verdicts change. {len(empty)} of these were "
          "`not-identified` and are `not-learned`: no seed learned all lengths together. "
          "The others:\n")  # fmt: skip
    print("| entry | was | by | is | because |\n|---|---|---|---|---|")
    for place in moved:
        if place not in empty:
            was, low, high, _ = before[place]
            name = place.removesuffix(".json")
            print(
                f"| {name} | {was} | {ends(low, high)} | {after[place][0]} | {why(*after[place])} |"
            )
    for kind in ("claims", "ranks"):
        changes = [k for k in new[kind] if old[kind].get(k) != new[kind][k]]
        print(f"\n{len(changes)} of {len(new[kind])} {kind} change.\n")
        print("| | was | is |\n|---|---|---|")
        for key in changes:
            print(f"| {key} | {old[kind].get(key)} | {new[kind][key]} |")


def main() -> None:
    paths = [Path(name) for name in sys.argv[1:]]
    if len(paths) == 1 and paths[0].is_dir():
        print(json.dumps(dumped(paths[0]), indent=1))
    elif len(paths) == 2:
        compared(*(json.loads(path.read_text("utf-8")) for path in paths))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
