"""Documents that an earlier kbench wrote, made into those of today."""

from collections.abc import Mapping
from typing import Any

from kbench.protocol import CONFIDENCE
from kbench.report.readings import kappa_reading, n_star_reading
from kbench.statistics.brackets import Bracket


def migrated(content: Mapping[str, Any], version: int) -> Mapping[str, Any]:
    """A document of an earlier version as one of this version; others as they are.

    Version 2 added `extrapolate`, and to each trial what it was tested at, its reason, losses and
    seconds, which version 1 did not hold. Version 3 has κ and N* over seeds by another estimator,
    which is applied to the brackets that the document holds. Version 4 added κ by length, reach and
    recipes.
    """
    if content.get("schema_version") == 3:
        return {**content, "schema_version": version, "results": [
            {**r, "kappa": r["kappa"] and {"up_to": r["lengths"][-1], **r["kappa"]}}
            for r in content["results"]
        ]}  # fmt: skip
    if content.get("schema_version") not in (1, 2):
        return content
    results = [_estimated(result) for result in content["results"]]
    return {**content, "schema_version": version, "results": results}


def _estimated(result: Mapping[str, Any]) -> dict[str, Any]:
    """A result with κ and N* over seeds made anew from its brackets."""
    brackets = {
        name: [
            Bracket(low=row["low"], high=row["high"], censored=row["censored"])
            for row in of["per_seed"]
        ]
        for name, of in result["n_star"].items()
    }
    seeds, joint = result["seeds"], brackets["joint"]
    lengths = [of for name, of in brackets.items() if name != "joint"]
    return {
        **result,
        "n_star": {
            name: n_star_reading(seeds, of, CONFIDENCE, {}) for name, of in brackets.items()
        },
        "kappa": result["kappa"]
        and kappa_reading(
            seeds, lengths, joint, CONFIDENCE,
            up_to=result["lengths"][-1], searched=result["complete"],
        ),
    }  # fmt: skip
