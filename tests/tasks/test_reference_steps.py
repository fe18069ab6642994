"""Tasks whose updates, states or answers are several tokens, against slow references."""

import pytest
from task_samples import make, told

from kbench.data.splits import Source, universe
from kbench.data.supervision import SUPERVISIONS
from kbench.errors import KbenchError

SUMS = [(2, 2, 6), (10, 3, 10), (2, 1, 4), (3, 40, 5), (16, 2, 1)]


@pytest.mark.parametrize(("base", "figures", "n"), SUMS)
def test_addition_agrees_with_sums_of_whole_numbers(base, figures, n):
    def number(written):
        assert len(written) == figures
        return sum(int(figure) * base**place for place, figure in enumerate(written))

    for prompt, updates, states, answer in told(make("addition", base=base, figures=figures), n):
        assert (prompt, answer) == ([], states[-1])
        numbers = list(map(number, updates))
        sums = [sum(numbers[: k + 1]) % base**figures for k in range(n)]
        assert list(map(number, states)) == sums


@pytest.mark.parametrize(("values", "n"), [(2, 1), (2, 12), (5, 7), (30, 3)])
def test_flipflop_agrees_with_one_cell_of_memory(values, n):
    seen = set()
    for prompt, updates, states, answer in told(make("flipflop", values=values), n):
        assert prompt[0] == "w" and updates[-1] == ["r"]
        cell, said = prompt[1], []
        for instruction, *value in updates:
            if instruction == "w":
                (cell,) = value
            said.append([cell] if instruction == "r" else [])
            seen.add((instruction, *value))
        assert states == said and answer == [cell]
    every = {(kind, str(value)) for kind in "wi" for value in range(values)}
    assert seen == {("r",)} | (every if n > 1 else set())


@pytest.mark.parametrize(("symbols", "n"), [(1, 5), (2, 1), (2, 13), (4, 30), (27, 3)])
def test_stack_agrees_with_a_list(symbols, n):
    for prompt, updates, states, answer in told(make("stack", symbols=symbols), n):
        pile, tops = [], []
        for (update,) in updates:
            if update.startswith("+"):
                pile.append(update[1:])
            elif pile:
                assert update == "pop"
                pile.pop()
            tops.append([pile[-1] if pile else "end"])
        assert (prompt, states, answer) == ([], tops, [*reversed(pile), "end"])


@pytest.mark.parametrize(("m", "n"), [(2, 1), (3, 6), (5, 20), (11, 4)])
def test_arithmetic_agrees_with_python_on_what_was_read(m, n):
    for prompt, updates, states, answer in told(make("arithmetic", m=m), n):
        read = [*prompt, *(token for update in updates for token in update)]
        values = [str(eval("".join(read[: 2 * k + 3])) % m) for k in range(n)]
        assert (states, answer) == ([[value] for value in values], [values[-1]])


LONGEST = [
    ("stack", {"symbols": 2}, lambda n: 3**n, (1, 3, 6)),
    ("flipflop", {"values": 2}, lambda n: 2 * 5 ** (n - 1), (2, 3, 5)),
    ("addition", {"base": 3, "figures": 2}, lambda n: 9**n, (2, 4)),
    ("arithmetic", {"m": 2}, lambda n: 2 * 6**n, (1, 3)),
]


@pytest.mark.parametrize("supervision", SUPERVISIONS)
@pytest.mark.parametrize(("name", "params", "count", "lengths"), LONGEST)
def test_splits_are_unique_disjoint_and_all_there_is(name, params, count, lengths, supervision):
    task = make(name, **params)
    assert [universe(task, n) for n in range(1, 9)] == [count(n) for n in range(1, 9)]
    limits = {"max_validation": 50, "max_validation_fraction": 0.2}
    source = Source(task=task, supervision=supervision, lengths=lengths, **limits)
    capacity = sum(map(count, lengths)) - source.shares().n_validation
    parts = source.splits(capacity, 1)
    with pytest.raises(ValueError, match=f"only {capacity} training samples"):
        source.splits(capacity + 1, 1)
    rows = [
        (*tokens, *(targets >= 0))
        for part in parts
        for tokens, targets in zip(part.tokens.tolist(), part.targets, strict=True)
    ]
    assert len(set(rows)) == len(rows) == sum(map(count, lengths))


DOCSTRINGS = [
    ("stack", {"symbols": 2}, ["+a+b+apop", "abab", "baend"], 4),
    ("flipflop", {"values": 2}, ["w1i0rw0i1r", "10", "0"], 5),
    ("addition", {"base": 10, "figures": 2}, ["7152", "7124"], 2),
    ("arithmetic", {"m": 5}, ["2-3-3*2", "413"], 3),
]


@pytest.mark.parametrize(("name", "params", "example", "n"), DOCSTRINGS)
def test_tasks_do_what_their_docstrings_show(name, params, example, n):
    def flat(parts):
        return "".join(part if isinstance(part, str) else flat(part) for part in parts)

    samples = told(make(name, **params), n, cases=1)
    samples = {flat(sample[0] + sample[1]): list(map(flat, sample[2:])) for sample in samples}
    assert samples[example[0]][: len(example) - 1] == example[1:]


REFUSED = [
    *(("stack", {"symbols": s}, f"symbols must .* 1, got {s}") for s in (-1, 0, 2.5)),
    *(("flipflop", {"values": v}, f"values must .* 2, got {v}") for v in (-1, 1, 2.5)),
    *(("addition", {"base": b, "figures": 2}, f"base must .* 2, got {b}") for b in (-1, 1, 2.5)),
    *(("arithmetic", {"m": m}, f"m must .* 2, got {m}") for m in (-1, 1, 2.5)),
    *(("addition", {"base": 2, "figures": f}, f"figures must .* 1, got {f}") for f in (0, True)),
]


@pytest.mark.parametrize(("name", "params", "message"), REFUSED)
def test_parameters_that_make_no_sense_are_refused_in_one_line(name, params, message):
    with pytest.raises(KbenchError, match=f"{name}: {message}") as refused:
        make(name, **params)
    assert "\n" not in str(refused.value)
