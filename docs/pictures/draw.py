"""The pictures of the concepts: `python docs/pictures/draw.py` draws them all again.

`supervision` and `reach` are drawings. The others show entries of the leaderboards in this
repository.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

import kbench
from kbench.report.figures.plots import STYLE, Picture, save

HERE = Path(__file__).parent
BOARDS = HERE.parents[1] / "leaderboards"
BLUE, RED, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
GREY = "#888888"


def entry(path: str) -> kbench.Result:
    return kbench.load(BOARDS / f"{path}.json")[0]


def supervision(axes: Any) -> None:
    """What is read and what is to be predicted, token by token."""
    rows = {
        "outcome": ("3 4 1 =", "· · · 3"),
        "cot": ("3 4 1 = 3 2", "· · · 3 2 3"),
        "aligned": ("3 4 1", "3 2 3"),
    }
    for i, (name, (read, target)) in enumerate(rows.items()):
        y = -3 * i
        axes.text(-0.9, y + 0.5, name, ha="right", va="center", fontweight="bold")
        for x, (token, answer) in enumerate(zip(read.split(), target.split(), strict=True)):
            own = name == "cot" and x > 3
            box = {"boxstyle": "round", "fc": "#fbe6d4" if own else "#e0ecf6", "ec": GREY}
            axes.text(x, y + 1, token, ha="center", va="center", bbox=box)
            if answer != "·":
                axes.annotate("", (x, y + 0.35), (x, y + 0.7), arrowprops={"arrowstyle": "->"})
                axes.text(x, y, answer, ha="center", va="center", color=GREEN, fontweight="bold")
    axes.set_xlim(-2.8, 5.6)
    axes.set_ylim(-6.6, 1.8)
    axes.axis("off")


def n_star(axes: Any) -> None:
    """Every run of one search: its loss against N, and the bracket."""
    found = entry("cpu-2/modadd/aligned/lstm")
    runs = [t for t in found.trials if t.seed == 1 and t.lengths == found.lengths and not t.tested]
    looks = {"passed": ("o", GREEN), "failed": ("x", RED)}
    for outcome, (marker, colour) in looks.items():
        of = [t for t in runs if t.outcome == outcome]
        axes.plot([t.n_samples for t in of], [t.best_loss for t in of], marker, color=colour,
                  label=f"run that {outcome}")  # fmt: skip
    (ends,) = (s for s in found.n_star["joint"].per_seed if s.seed == 1)
    axes.axvspan(ends.low, ends.high, color=BLUE, alpha=0.25, linewidth=0,
                 label=f"bracket of N*: {ends.low}–{ends.high}")  # fmt: skip
    axes.axhline(0.01, color=GREY, linestyle="--", linewidth=1, label="ε = 0.01")
    axes.set(xscale="log", yscale="log", xlabel="N, training samples",
             ylabel="best validation loss, nats")  # fmt: skip
    axes.set_xticks([1, 10, 100, 1000, 10000], ["1", "10", "100", "1,000", "10,000"])
    axes.legend(fontsize=9)


def kappa(axes: Any) -> None:
    """Each length alone, stacked, beside all lengths together; of one seed."""
    found = entry("cpu-2/modadd/aligned/lstm")
    high = {name: s.high for name, of in found.n_star.items() for s in of.per_seed if s.seed == 1}
    left, shades = 0, matplotlib.colormaps["Blues"]
    for i, n in enumerate(found.lengths):
        width = high[str(n)]
        axes.barh(1, width, left=left, color=shades(0.25 + 0.09 * i), edgecolor="white")
        label = f"{width}\nn={n}" if width > 5 else f"{width}"
        axes.text(left + width / 2, 1, label, ha="center", va="center", fontsize=8,
                  color="white" if n > 5 else "black")  # fmt: skip
        left += width
    axes.barh(0, high["joint"], color=RED)
    axes.text(high["joint"] + 2, 0, f"{high['joint']} samples of all lengths, mixed", va="center")
    axes.set_yticks([0, 1], ["together", "alone"])
    axes.set_xlabel(f"samples that suffice; alone {left} in all")
    axes.grid(axis="y", visible=False)


def reach(axes: Any) -> None:
    """Which seed learns the lengths up to L together; three models that were made up."""
    models = {
        "A: reach 5": (5, 5, 4, 5, 5),
        "B: reach 3": (3, 4, 3, 2, 3),
        "C: reach none": (0, 0, 2, 0, 0),
    }
    for i, (name, seeds) in enumerate(models.items()):
        for k, length in enumerate(seeds):
            for up_to in (2, 3, 4, 5):
                learned = up_to <= length
                axes.plot(7 * i + k, up_to, "s", markersize=11, color=GREEN if learned else "white",
                          markeredgecolor=GREEN if learned else GREY)  # fmt: skip
        axes.text(7 * i + 2, 5.7, name, ha="center")
        axes.text(7 * i + 2, 1.15, "seeds 1 to 5", ha="center", fontsize=9, color=GREY)
    axes.set_yticks([2, 3, 4, 5], [f"2 to {n}" if n > 2 else "2" for n in (2, 3, 4, 5)])
    axes.set_xticks([])
    axes.set_ylim(0.8, 6.2)
    axes.set_ylabel("lengths, together")
    axes.grid(visible=False)


def censoring(axes: Any) -> None:
    """Every seed's bracket by length; an arrow where all samples there are do not suffice."""
    found = entry("cpu-2/modadd/aligned/lstm")
    shown = set()
    for n in found.lengths:
        for i, ends in enumerate(found.n_star[str(n)].per_seed):
            x, out = n + 0.13 * (i - 2), ends.censored == "right"
            axes.plot([x, x], [ends.low, ends.high], color=RED if out else BLUE, linewidth=3)
            if out:
                axes.plot(x, ends.high, marker="^", color=RED, markersize=6)
            label = "samples ran out" if out else "a bracket"
            if label not in shown:
                axes.plot([], [], color=RED if out else BLUE, linewidth=3, label=label)
                shown.add(label)
    axes.set(yscale="log", xlabel="length n, five seeds each", ylabel="N*, samples")
    axes.set_yticks([2, 5, 10, 20, 50], ["2", "5", "10", "20", "50"])
    axes.minorticks_off()
    axes.legend(loc="lower right", fontsize=9)


def verdicts(axes: Any) -> None:
    """Intervals of κ on one board, by what their verdict is."""
    names = (
        "outcome/dense-ssm", "aligned/lstm", "aligned/mamba", "aligned/transformer", "cot/mamba",
        "cot/transformer", "aligned/transformer-rope",
    )  # fmt: skip
    colours = {"sharing": GREEN, "interference": RED}
    axes.axvspan(1 / 1.5, 1.5, color="#eeeeee", zorder=0)
    axes.axvline(1, color="black", linewidth=1)
    for y, name in enumerate(reversed(names)):
        given, model = name.split("/")
        of = entry(f"cpu-2/modadd/{name}").kappa
        low, high, estimate = of.over_seeds.low, of.over_seeds.high, of.over_seeds.estimate
        colour = colours.get(of.verdict, GREY)
        if low is not None or high is not None:
            axes.plot([low or 0.01, high or 20], [y, y], color=colour, linewidth=2)
        if low is None and high is not None:
            axes.plot(0.01, y, "<", color=colour)
        if estimate is not None:
            axes.plot(estimate, y, "o", color=colour)
        axes.text(21, y, f"  {of.verdict}", va="center", color=colour)
    axes.set_yticks(range(len(names)), [" ".join(n.split("/")[::-1]) for n in reversed(names)])
    axes.set(xscale="log", xlim=(0.008, 20), xlabel="κ, with its interval over seeds")
    axes.set_xticks([0.01, 0.1, 1, 10], ["0.01", "0.1", "1", "10"])
    axes.grid(axis="y", visible=False)


def protocols(axes: Any) -> None:
    """N* of the same model at the same lengths under two protocols."""
    for k, (protocol, colour) in enumerate({"quick-1": BLUE, "cpu-2": RED}.items()):
        found = entry(f"{protocol}/modadd/aligned/transformer")
        for n in (4, 5, 6):
            for i, ends in enumerate(found.n_star[str(n)].per_seed):
                x, out = n + 0.3 * (k - 0.5) + 0.05 * (i - 2), ends.censored == "right"
                axes.plot([x, x], [ends.low, ends.high], color=colour, linewidth=3)
                if out:
                    axes.plot(x, ends.high, marker="^", color=colour, markersize=6)
        axes.plot([], [], color=colour, linewidth=3, label=protocol)
    axes.set(yscale="log", xlabel="length n", ylabel="N*, samples (▲: ran out)")
    axes.set_xticks([4, 5, 6])
    axes.set_yticks([50, 100, 200, 500], ["50", "100", "200", "500"])
    axes.minorticks_off()
    axes.legend(loc="upper left", fontsize=9)


PICTURES: dict[str, tuple[Callable[[Any], None], float, float]] = {
    "supervision": (supervision, 5.2, 3.4),
    "n-star": (n_star, 6.5, 3.6),
    "kappa": (kappa, 6.5, 2.2),
    "reach": (reach, 6.5, 2.8),
    "censoring": (censoring, 6.5, 3.4),
    "verdicts": (verdicts, 6.5, 3.0),
    "protocols": (protocols, 5.5, 3.2),
}


def main(folder: Path = HERE) -> None:
    for name, (draw, width, height) in PICTURES.items():
        with matplotlib.rc_context(STYLE):
            figure = Picture(figsize=(width, height), layout="constrained")
            draw(figure.subplots())
            save(figure, folder / f"{name}.svg")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
