"""Results that nobody measured, as documents of version 1 hold them."""

import copy

from kbench.regression.compare import Verdict, compare
from kbench.regression.measured import read
from kbench.report.document import read as read_document

SEEDS = (1, 2, 3, 4, 5)
SAME, REGRESSION, INCONCLUSIVE, BROKEN = Verdict


def bracket(n_star):
    """Of two neighbours on a grid of ratio 1.25; None for a right-censored one."""
    if n_star is None:
        return {"low": 1000, "high": None, "censored": "right"}
    return {"low": round(n_star / 1.25), "high": n_star, "censored": None}


def trial(seed, n, **changes):
    row = {
        "lengths": [4], "seed": seed, "n_samples": n, "learning_rate": 0.001,
        "outcome": "passed", "steps": 200, "key": f"{seed} {n}", "digest": f"{seed} {n}",
        "data_sha256": {"train": f"{seed} {n}", "validation": str(seed)},
    }  # fmt: skip
    return row | changes


def result(n_star=(40, 50, 45, 42, 60), joint=(50, 55, 60, 52, 70), seeds=SEEDS, **changes):
    """One cell's part of a document: N* of two lengths by seed, and jointly."""
    return {
        "model": "lstm",
        "model_version": 1,
        "size": {"width": 64},
        "backend": "torch",
        "task": "modadd",
        "task_version": 1,
        "task_params": {"m": 3},
        "supervision": "aligned",
        "protocol": "quick-1",
        "lengths": [4, 5],
        "distribution": None,
        "seeds": list(seeds),
        "complete": True,
        "n_star": {
            name: {
                **{"low": None, "high": None, "censored": None},
                "per_seed": [{"seed": s, **bracket(n)} for s, n in zip(seeds, values, strict=True)],
            }
            for name, values in (("4", n_star), ("5", n_star), ("joint", joint))
        },
        "kappa": None,
        "extrapolation": [],
        "monotonicity_violations": 0,
        "errors": [],
        "trials": {
            "digest": f"of {n_star} {joint}",
            "each": [trial(s, n) for s in seeds for n in (30, 60)],
        },
        "environment": {"torch": "2.0"},
    } | changes


def times(factor, n_star=(40, 50, 45, 42, 60)):
    return tuple(round(n * factor) for n in n_star)


def behaving_otherwise(of, **changes):
    """The result with other digests, as if each trial had come out a little differently."""
    of = copy.deepcopy(of)
    of["trials"]["digest"] += " changed"
    for row in of["trials"]["each"]:
        row.update({"digest": row["digest"] + " changed"} | changes)
    return of


def read_cell(content, command=None):
    """From a document of version 1, as older canaries are."""
    (cell,) = read_document({"schema_version": 1, "results": [content]}).results
    return read(cell, command)


def compared(base, head, **options):
    return compare([read_cell(base)], [read_cell(head)], **options)


def rows(found):
    return {row.quantity: row for cell in found.cells for row in cell.rows}
