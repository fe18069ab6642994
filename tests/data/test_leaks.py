"""What of a validation set the training set holds, against sets of prefixes."""

import pytest
from cases import cases, many
from hypothesis import given

from kbench.data.leaks import only_new, seen_prefixes
from kbench.data.splits import Source
from kbench.data.supervision import IGNORE
from kbench.registry import tasks


def positions(split):
    """Prefix and target of every supervised position."""
    return [
        (tuple(tokens[: t + 1]), target)
        for tokens, targets in zip(split.tokens.tolist(), split.targets.tolist(), strict=True)
        for t, target in enumerate(targets)
        if target != IGNORE
    ]


def by_sets(training, validation):
    known, judged = set(positions(training)), positions(validation)
    return sum(position in known for position in judged) / len(judged)


@many
@given(case=cases())
def test_it_is_the_share_of_prefixes_and_targets(case):
    training, validation = case.source.splits(case.n_samples, case.seed)
    if len(validation.tokens):
        assert seen_prefixes(training, validation) == by_sets(training, validation)


@pytest.mark.parametrize("supervision", ["outcome", "cot"])
def test_where_the_whole_input_comes_first_there_are_none(supervision):
    training, validation = splits(supervision, 800)
    assert seen_prefixes(training, validation) == 0


@pytest.mark.parametrize(("n_samples", "share"), [(37, 0.53), (874, 0.88)])
def test_under_aligned_most_of_a_small_task_is_seen(n_samples, share):
    assert seen_prefixes(*splits("aligned", n_samples)) == pytest.approx(share, abs=0.02)


def splits(supervision, n_samples):
    source = Source(
        task=tasks["modadd"].cls(m=3),
        supervision=supervision,
        lengths=(2, 3, 4, 5, 6),
        max_validation=2000,
        max_validation_fraction=0.2,
    )
    return source.splits(n_samples, 1)


@many
@given(case=cases())
def test_only_new_leaves_the_targets_whose_prefix_no_training_sample_has(case):
    training, validation = case.source.splits(case.n_samples, case.seed)
    left, known = only_new(training, validation), set(positions(training))
    new = [position for position in positions(validation) if position not in known]
    assert positions(left) == (new or positions(validation))
    assert left.tokens is validation.tokens
