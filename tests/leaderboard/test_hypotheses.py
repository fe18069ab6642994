"""The project's own claims on made-up boards on which each must come out one way or the other."""

import dataclasses

import pytest
from conftest import board_cell
from test_claims import NEVER, claim, kappa_rows, row, together


def with_reach():
    return dataclasses.replace(board_cell().protocol, by_length=True)


def reaching(model, supervision, longest, **changes):
    """A row whose seeds each learn the first length to so many together; 0 for none."""

    def needs(trial):
        return 20 if trial.lengths[-1] <= longest[trial.seed - 1] else NEVER

    return row(needs, model=model, supervision=supervision, protocol=with_reach(), **changes)


FAR, NEAR, NONE = (6, 6, 6, 5, 6, 6), (3, 4, 3, 4, 3, 3), (0,) * 6


@pytest.mark.parametrize(
    ("lstm", "ssm", "transformer", "verdict"),
    [
        ((FAR, FAR), (FAR, FAR), (NEAR, NONE), "supported"),
        ((NONE, FAR), (FAR, NEAR), (NONE, NEAR), "supported"),  # each in one of the two
        ((FAR, FAR), (NEAR, NEAR), (NEAR, NEAR), "not-enough-evidence"),
        ((FAR, NEAR), (FAR, FAR), (NEAR, FAR), "refuted"),
        ((NONE, NONE), (NONE, NONE), (NONE, NONE), "not-enough-evidence"),
    ],
)
def test_5_1_recurrence_reaches_further(lstm, ssm, transformer, verdict):
    rows = [
        reaching(model, supervision, of)
        for model, both in (("lstm", lstm), ("dense-ssm", ssm), ("transformer", transformer))
        for supervision, of in zip(("outcome", "aligned"), both, strict=True)
    ]
    assert claim("5.1", rows).verdict == verdict


def test_5_1_needs_a_protocol_that_measures_reach():
    rows = kappa_rows(
        lstm_aligned=(20, 20), dense_ssm_aligned=(20, 20), transformer_aligned=(20, 90)
    )
    assert claim("5.1", rows).verdict == "not-enough-evidence"


@pytest.mark.parametrize(("turn", "verdict"), [(1, "supported"), (-1, "refuted")])
def test_5_2_sharing_goes_with_extrapolation(turn, verdict):
    joints = [20, 25, 30, 40, 50, 60, 75, 90]
    names = [(m, s) for m in ("lstm", "gru", "rnn", "xlstm") for s in ("outcome", "aligned")]
    rows = [
        row(together(60, joint), model=model, supervision=supervision, protocol=with_reach())
        for joint, (model, supervision) in zip(joints, names, strict=True)
    ]
    for i, each in enumerate(rows):
        each.__dict__["beyond"] = 1 - 0.1 * i * turn
    assert claim("5.2", rows).verdict == verdict
    assert claim("5.2", rows[:7]).verdict == "not-enough-evidence"
    plain = board_cell().protocol  # as boards have that are older than the rule
    for each in rows:
        each.run.cell = dataclasses.replace(each.run.cell, protocol=plain)
    assert claim("5.2", rows).verdict == "not-enough-evidence"
    for each in rows:
        each.run.cell = dataclasses.replace(each.run.cell, protocol=with_reach())
    for i, each in enumerate(rows):
        each.__dict__["beyond"] = (0.5, 0.1, 0.9, 0.3, 0.4, 0.8, 0.2, 0.6)[i]
    assert claim("5.2", rows).verdict == "not-enough-evidence"


def test_5_3_goes_by_parity():
    def on(task, **params):
        return [
            reaching(model, "aligned", of, task=task, task_params=params)
            for model, of in (("mamba", NONE), ("mamba-neg", FAR))
        ]

    found = claim("5.3", on("parity"))
    assert found.verdict == "not-enough-evidence"  # deltanet has no entries
    assert found.findings[0].figures["mamba-neg"]["holds"] is True
    found = claim("5.3", on("modadd", m=3))
    assert {f.verdict for f in found.findings} == {"not-enough-evidence"}


def test_5_4_looping_reaches_further():
    def rows(looped, plain):
        return [
            reaching(model, "outcome", of)
            for model, of in (("looped-transformer", looped), ("transformer", plain))
        ]

    assert claim("5.4", rows(FAR, NEAR)).verdict == "supported"
    assert claim("5.4", rows(NEAR, FAR)).verdict == "refuted"
    assert claim("5.4", rows(NEAR, NEAR)).verdict == "not-enough-evidence"


def test_5_5_the_same_under_other_recipes():
    other = board_cell().protocol
    other = dataclasses.replace(other, name="other", recipes=other.recipes[:1])

    def rows(joint, **changes):
        names = ("outcome", "cot", "aligned")
        return [
            row(together(20, joint), model="transformer", supervision=s, **changes) for s in names
        ]

    here, there = rows(300), rows(300, protocol=other)
    found = claim("5.5", [*here, *there])
    assert {f.board: f.verdict for f in found.findings} == {"4.1": "supported", "4.2": "supported"}
    assert found.verdict == "not-enough-evidence"  # two claims are too few
    found = claim("5.5", [*here, *rows(20, protocol=other)])
    assert found.verdict == "refuted"
    assert claim("5.5", here).verdict == "not-enough-evidence"
