"""The ten rules on made-up boards on which each must come out one way or the other."""

import dataclasses
import math
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import board_cell, made_up

from kbench.leaderboard.board import Row
from kbench.leaderboard.claims import JUDGES, boards, evaluate, rules
from kbench.leaderboard.observations import fewer
from kbench.leaderboard.place import location
from kbench.statistics.brackets import Bracket
from kbench.study.searches import CellRun

USUAL = {
    "task_params": {"m": 3}, "lengths": (2, 3, 4, 5, 6), "extrapolate": (12,),
    "seeds": (1, 2, 3, 4, 5, 6),  # as many as it takes where all are bounded on one side
}  # fmt: skip
RIGHT = {"accuracy": 1.0, "chance": 0.5}
NEVER = 10**9


def row(needs, **changes):
    """A row of a cell whose runs pass from `needs(trial)` samples on."""
    cell = board_cell(**{**USUAL, **changes})
    run = CellRun(cell)
    while wanted := run.wanted():
        trial = wanted[0]
        run.tell(trial, made_up("passed" if trial.n_samples >= needs(trial) else "failed",
                                accuracy={str(n): RIGHT for n in trial.tested}))  # fmt: skip
    settings = SimpleNamespace(protocol=cell.protocol.id, supervision=cell.supervision)
    row = Row(entry=SimpleNamespace(settings=settings), place=location(cell))
    row.__dict__["run"] = run  # in place of an entry's
    return row


def together(alone, joint):
    """Samples that a run needs: at one length, and at several."""
    return lambda trial: joint if len(trial.lengths) > 1 else alone


def kappa_rows(**needs):
    """`lstm_cot=(alone, joint)`, … as κ entries."""
    rows = []
    for name, (alone, joint) in needs.items():
        model, supervision = name.rsplit("_", 1)
        rows.append(row(together(alone, joint), model=model.replace("_", "-"),
                        supervision=supervision))  # fmt: skip
    return rows


def claim(id_, rows):
    return next(c for c in evaluate(rows) if c.id == id_)


def test_the_rules_are_those_written_down():
    text = (Path(__file__).parents[2] / "docs" / "claims.md").read_text()
    written = re.findall(r"^\| (\d\.\d) \| (.*?) \| (.*) \|$", text, flags=re.MULTILINE)
    assert [
        (r["id"], r["observation"].replace("N\\*", "N\\*"), r["rule"]) for r in rules()
    ] == written
    assert [*JUDGES, "5.5"] == [r["id"] for r in rules()]


def test_without_entries_nothing_is_decided():
    assert [c.verdict for c in evaluate([])] == ["not-enough-evidence"] * 15


def brackets(*values):
    return [Bracket(low=math.floor(v / 1.1), high=v) for v in values]


def test_fewer_goes_by_an_interval_over_seeds():
    def decided(a, b):
        return fewer(a, b, 0.96)[0]

    few, many = brackets(10, 11, 12, 11, 10, 12), brackets(100, 110, 120, 100, 110, 120)
    assert decided(few, many) is True
    assert decided(many, few) is False
    # One seed against the others: the best of the grid would have decided.
    assert decided(brackets(10, 300, 300), brackets(100, 110, 120)) is None
    unbounded = [Bracket(low=500, high=None, censored="right")] * 6
    assert decided(few, unbounded) is True
    assert decided(unbounded, few) is False
    assert decided(unbounded, brackets(*[600] * 6)) is None
    assert decided(few[:4], unbounded[:4]) is None  # four seeds on one side are not enough
    assert decided(brackets(10), brackets(100)) is None


@pytest.mark.parametrize(("cot", "aligned", "verdict"), [
    (20, 200, "supported"), (200, 20, "refuted"), (200, 200, "not-enough-evidence"),
])  # fmt: skip
def test_3_1_cot_for_transformers(cot, aligned, verdict):
    rows = kappa_rows(transformer_cot=(cot, NEVER), transformer_aligned=(aligned, 500))
    found = claim("3.1", rows)
    assert found.verdict == verdict
    assert found.document()["entries"] == [
        "quick-1/modadd/aligned/transformer.json", "quick-1/modadd/cot/transformer.json",
    ]  # fmt: skip


def beyond(rows, value):
    """The rows with this accuracy at twice the length."""
    for row in rows:
        row.__dict__["beyond"] = value
    return rows


def test_3_2_aligned_for_recurrent_models():
    good = {"lstm_aligned": (20, 30), "dense_ssm_aligned": (20, 30)}
    bad = {"lstm_cot": (200, NEVER), "dense_ssm_cot": (200, 700)}
    assert claim("3.2", beyond(kappa_rows(**good, **bad), 0.1)).verdict == "supported"
    assert claim("3.2", beyond(kappa_rows(**good, **bad), 0.9)).verdict == "refuted"
    without = kappa_rows(**good, lstm_cot=(200, NEVER))
    assert claim("3.2", beyond(without, 0.1)).verdict == "not-enough-evidence"
    swapped = kappa_rows(lstm_aligned=(200, 700), lstm_cot=(20, 30))
    assert claim("3.2", beyond(swapped, 0.1)).verdict == "refuted"


def test_3_3_what_recurrent_models_learn_without_supervision():
    def verdict(transformer, lstm, dense):
        rows = kappa_rows(transformer_outcome=(200, transformer), lstm_outcome=(200, lstm),
                          dense_ssm_outcome=(200, dense))  # fmt: skip
        return claim("3.3", rows).verdict

    assert verdict(NEVER, NEVER, 500) == "supported"
    assert verdict(500, NEVER, NEVER) == "refuted"
    assert verdict(500, 500, 500) == verdict(NEVER, NEVER, NEVER) == "not-enough-evidence"


def ordered(model, supervision, fixed, uniform, short):
    def needs(trial):
        if trial.distribution == "short-to-long":
            return short
        return uniform if len(trial.lengths) > 1 else fixed

    of = {"model": model, "supervision": supervision}
    return [row(needs, **of), row(needs, **of, distribution="short-to-long", extrapolate=())]


def test_3_4_longer_sequences():
    recurrent = [
        *ordered("lstm", "aligned", 20, 60, 200),
        *ordered("dense-ssm", "aligned", 20, 60, 200),
    ]
    other = ordered("transformer", "cot", 200, 60, 200)
    assert claim("3.4", recurrent + other).verdict == "supported"
    assert claim("3.4", recurrent).verdict == "not-enough-evidence"
    gains = ordered("transformer", "cot", 20, 60, 200)
    assert claim("3.4", recurrent + gains).verdict == "refuted"
    against = ordered("lstm", "aligned", 200, 60, 200)
    assert claim("3.4", recurrent[2:] + against + other).verdict == "refuted"


def test_3_5_short_sequences():
    short = [
        *ordered("lstm", "outcome", 200, 300, 50),
        *ordered("dense-ssm", "outcome", 200, 300, 50),
    ]
    assert claim("3.5", short).verdict == "supported"
    assert claim("3.5", short[:2]).verdict == "not-enough-evidence"
    assert claim("3.5", ordered("lstm", "outcome", 200, 50, 300)).verdict == "refuted"


def test_4_1_transformers_do_not_share():
    low = {"transformer_cot": (20, 700), "transformer_outcome": (200, NEVER)}
    assert claim("4.1", kappa_rows(**low, transformer_aligned=(100, 600))).verdict == "supported"
    assert claim("4.1", kappa_rows(**low)).verdict == "not-enough-evidence"
    assert claim("4.1", kappa_rows(**low, transformer_aligned=(100, 100))).verdict == "refuted"


def test_one_lucky_seed_decides_nothing_and_what_each_has_is_shown():
    def lucky(trial):
        joint = 100 if trial.seed == 1 else NEVER
        return joint if len(trial.lengths) > 1 else 100

    rows = [row(lucky, model="transformer", supervision="aligned")]
    found = claim("4.1", rows)
    assert found.verdict == "not-enough-evidence"
    shown = found.findings[0].figures["transformer"]["aligned"]
    first, *others = shown["κ of each seed"]
    assert first[0] > 1.25
    assert [low for low, _ in others] == [None] * len(others)
    assert max(high for _, high in others) < first[0]


def test_4_2_interference():
    assert claim("4.2", kappa_rows(transformer_cot=(20, NEVER))).verdict == "supported"
    assert claim("4.2", kappa_rows(transformer_cot=(100, 300))).verdict == "refuted"
    assert claim("4.2", kappa_rows(lstm_cot=(20, NEVER))).verdict == "not-enough-evidence"


def test_4_3_recurrent_models_share():
    sharing = {
        f"{m}_{s}": (100, 100) for m in ("lstm", "dense_ssm") for s in ("outcome", "aligned")
    }
    about_one = {"lstm_cot": (200, 700), "dense_ssm_cot": (200, 700)}
    assert claim("4.3", kappa_rows(**sharing, **about_one)).verdict == "supported"
    assert claim("4.3", kappa_rows(**sharing)).verdict == "not-enough-evidence"
    nothing = {"lstm_cot": (NEVER, NEVER), "dense_ssm_cot": (200, 700)}
    assert claim("4.3", kappa_rows(**sharing, **nothing)).verdict == "not-enough-evidence"
    cot_shares = {"lstm_cot": (100, 100), "dense_ssm_cot": (NEVER, NEVER)}
    assert claim("4.3", kappa_rows(**sharing, **cot_shares)).verdict == "refuted"
    interferes = sharing | {"lstm_outcome": (20, NEVER)}
    assert claim("4.3", kappa_rows(**interferes, **about_one)).verdict == "refuted"


def test_4_4_longer_is_cheaper():
    def rows(needs):
        return [
            row(lambda trial: needs(trial.lengths[-1]), model="dense-ssm", distribution="uniform",
                lengths=tuple(range(2, last + 1)), extrapolate=())
            for last in (4, 5, 6)
        ]  # fmt: skip

    assert claim("4.4", rows(lambda last: 800 // last**2)).verdict == "supported"
    assert claim("4.4", rows(lambda last: 2 * last**2)).verdict == "refuted"
    assert claim("4.4", rows(lambda last: 2 * last**2)[:2]).verdict == "not-enough-evidence"
    found = claim("4.4", rows(lambda last: 800 // last**2))
    assert found.board == "quick-1 modadd m=3 L=6"
    assert len(found.document()["entries"]) == 3


def test_4_5_sharing_and_extrapolation():
    sharing = kappa_rows(**{f"{m}_aligned": (100, 60) for m in ("lstm", "gru", "rnn")})
    others = kappa_rows(**{f"{m}_cot": (20, NEVER) for m in ("lstm", "gru", "rnn")})
    assert claim("4.5", beyond(sharing, 0.9) + beyond(others, 0.1)).verdict == "supported"
    assert claim("4.5", beyond(sharing, 0.1) + beyond(others, 0.9)).verdict == "refuted"
    assert claim("4.5", sharing + others[:2]).verdict == "not-enough-evidence"


def test_4_5_takes_no_account_of_those_that_learn_nothing():
    sharing = beyond(kappa_rows(**{f"{m}_aligned": (100, 60) for m in ("lstm", "gru", "rnn")}), 0.9)
    interfering = beyond(kappa_rows(lstm_cot=(20, NEVER), gru_cot=(20, NEVER)), 0.1)
    nothing = beyond(kappa_rows(rnn_cot=(NEVER, NEVER), xlstm_cot=(NEVER, NEVER)), 0.0)
    assert all(row.kappa.is_open and row.verdict == "not-learned" for row in nothing)

    def p(others):
        return claim("4.5", sharing + others).findings[0].figures.get("p")

    assert p(interfering + nothing) is None  # two that interfere are too few
    interfering += kappa_rows(mamba_cot=(20, NEVER))
    for i, row in enumerate(sharing + interfering):  # no ties
        row.__dict__["beyond"] = 0.9 - 0.1 * i
    # Three that all lie above three: one order of twenty.
    assert p(interfering + nothing) == p(interfering) == pytest.approx(1 / 20)


def test_other_tasks_and_models_move_no_verdict():
    rows = kappa_rows(transformer_cot=(20, NEVER), gru_cot=(100, 100))
    elsewhere = [row(together(100, 100), model="transformer", supervision="cot", task="permutation",
                     task_params={"group": "S3"}, lengths=(2, 3, 4), extrapolate=(8,))]  # fmt: skip
    found = claim("4.2", elsewhere + rows)
    assert (found.verdict, found.board) == ("supported", "quick-1 modadd m=3 L=6")
    assert [f.verdict for f in found.findings] == ["supported", "refuted"]
    assert claim("4.2", elsewhere).verdict == "not-enough-evidence"
    beside = found.findings[0].figures["other models, no part of the verdict"]
    assert beside["gru"]["holds"] is False


def test_boards_of_other_lengths_do_not_mix():
    usual = kappa_rows(transformer_cot=(20, NEVER))
    later = [row(together(100, 100), model="transformer", supervision="cot", lengths=(3, 4, 5, 6))]
    found = claim("4.2", usual + later)
    assert {f.board: f.verdict for f in found.findings} == {
        "quick-1 modadd m=3 L=6": "supported", "quick-1 modadd m=3 from 3 L=6": "refuted",
    }  # fmt: skip
    assert [
        b.name
        for b in boards(
            kappa_rows(lstm_cot=(20, 30))
            + [row(together(20, 30), lengths=(2, 3, 4), extrapolate=(8,))]
        )
    ] == ["quick-1 modadd m=3 L=6", "quick-1 modadd m=3 L=4"]  # the longest first


def test_seeds_that_only_one_side_has_do_not_count():
    three, five = brackets(10, 11, 12), brackets(100, 110, 120, 5, 5)
    assert fewer(three, five, 0.96)[0] is True


def test_4_3_needs_no_interference_under_cot():
    sharing = dict.fromkeys(
        ("lstm_outcome", "lstm_aligned", "dense_ssm_outcome", "dense_ssm_aligned"), (100, 100)
    )
    interferes = {"lstm_cot": (20, NEVER), "dense_ssm_cot": (NEVER, NEVER)}
    assert claim("4.3", kappa_rows(**sharing, **interferes)).verdict == "refuted"


def test_ones_own_models_count_nowhere():
    rows = kappa_rows(**{f"{m}_aligned": (100, 60) for m in ("lstm", "gru", "rnn")})
    rows += kappa_rows(**{f"{m}_cot": (20, NEVER) for m in ("lstm", "gru")})
    own = kappa_rows(rnn_cot=(20, NEVER))[0]
    assert claim("4.5", beyond([*rows, own], 0.5)).findings
    own.run.cell = dataclasses.replace(own.run.cell, model="mine.py:Mine")
    shown = claim("4.5", beyond([*rows, own], 0.5)).findings[0]
    assert "p" not in shown.figures
    assert len(shown.entries) == 5


def test_lengths_with_a_gap_are_a_board_of_their_own():
    usual = kappa_rows(transformer_cot=(20, NEVER))
    some = [row(together(100, 100), model="transformer", supervision="cot", lengths=(2, 4, 6))]
    assert [b.name for b in boards(usual + some)] == [
        "quick-1 modadd m=3 L=6", "quick-1 modadd m=3 lengths 2,4,6 L=6",
    ]  # fmt: skip


def test_the_larger_budget_counts():
    from kbench import protocol as protocols

    cpu = row(together(100, 300), model="transformer", supervision="cot", seeds=(1, 2, 3, 4, 5),
              protocol=protocols.load("cpu-2"))  # fmt: skip
    quick = kappa_rows(transformer_cot=(20, NEVER))
    assert [b.name for b in boards([*quick, cpu])] == [
        "cpu-2 modadd m=3 L=6", "quick-1 modadd m=3 L=6",
    ]  # fmt: skip
    found = claim("4.2", [*quick, cpu])
    assert (found.verdict, found.board) == ("refuted", "cpu-2 modadd m=3 L=6")
