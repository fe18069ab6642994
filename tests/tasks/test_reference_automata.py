"""`automaton` and `composition` against slow references that share no code with them."""

import itertools
import re

import numpy as np
import pytest
from task_samples import draw, make, simulate_all, vocabulary

from kbench.errors import KbenchError
from kbench.tasks.automaton import LANGUAGES

PATTERNS = (
    "(01)*",
    "(0|1)*11",
    "1+0?",
    "0(0|1)?1|",
    "2?(0|21)+",
    "(0|1)(0|1)(0|1)*",
    "((0*1)+)?0?",
)
ACCEPTS = {  # whether a language has a word, told without an automaton
    "parity": lambda w: w.count("1") % 2 == 0,
    "cycle": lambda w: (w.count("1") - w.count("2")) % 5 == 0,
    "even-pairs": lambda w: (
        (w.count("01") + sum(w[i : i + 2] == "10" for i in range(len(w)))) % 2 == 0
    ),
    "01-star": lambda w: w == "01" * (len(w) // 2),
    "00-star": lambda w: "1" not in w and len(w) % 2 == 0,
    "dyck-2": lambda w: w.replace("01", "").replace("01", "") == "",
    "tomita-1": lambda w: "0" not in w,
    "tomita-2": lambda w: w == "10" * (len(w) // 2),
    "tomita-3": lambda w: not re.search("(?<!1)1(11)*0(00)*(?!0)", w),
    "tomita-4": lambda w: "000" not in w,
    "tomita-5": lambda w: w.count("0") % 2 == w.count("1") % 2 == 0,
    "tomita-6": lambda w: (w.count("0") - w.count("1")) % 3 == 0,
    "tomita-7": lambda w: len(re.findall("1+", w)) <= 2 and not re.search("10+10+1|10+1+0+1", w),
}
CASES = [({"regex": regex}, lambda w, r=regex: bool(re.fullmatch(r, w))) for regex in PATTERNS]
CASES += [({"name": name}, accepts) for name, accepts in ACCEPTS.items()]


@pytest.mark.parametrize(("params", "accepts"), CASES, ids=[str(params) for params, _ in CASES])
def test_states_are_what_tells_words_apart(params, accepts):
    # Myhill and Nerode: two words lead to one state where every continuation is judged alike.
    task = make("automaton", **params)
    names = vocabulary(task)
    symbols = [name for name in names if not name.startswith("q")]
    ends = ["".join(end) for n in range(7) for end in itertools.product(symbols, repeat=n)]
    state_of = {"": "q0"}
    for inputs, states in (simulate_all(task, n) for n in (1, 2, 3, 4)):
        for x, s in zip(inputs.tolist(), states.tolist(), strict=True):
            state_of["".join(names[token] for token in x)] = names[s[-1]]
    pairs = {(tuple(accepts(w + end) for end in ends), state) for w, state in state_of.items()}
    assert len(pairs) == len({known for known, _ in pairs}) == len({state for _, state in pairs})
    assert len(pairs) == task.vocab_size - len(symbols)


def transitions(task):
    """Of each symbol, the state after each state: from many samples."""
    names, edges = vocabulary(task), {}
    for x, s in zip(*draw(task, 40, 20), strict=True):
        for before, symbol, to in zip(["q0", *(names[t] for t in s[:-1])], x, s, strict=True):
            assert edges.setdefault((before, names[symbol]), names[to]) == names[to]
    states = sorted({state for state, _ in edges} | set(edges.values()))
    symbols = sorted({symbol for _, symbol in edges})
    places = {state: i for i, state in enumerate(states)}
    return [tuple(places[edges[state, symbol]] for state in states) for symbol in symbols]


def after(f, g):
    """First g, then f."""
    return tuple(f[i] for i in g)


def generated(functions):
    """All that these functions compose to."""
    found, new = set(), set(functions)
    while new:
        found |= new
        new = {after(f, g) for f in functions for g in new} - found
    return found


@pytest.mark.parametrize("name", LANGUAGES)
def test_what_the_theory_says_of_a_language_follows_from_its_transition_monoid(name):
    monoid = generated(transitions(make("automaton", name=name)))
    groups = [
        {x for x in monoid if after(e, x) == after(x, e) == x and e in generated([x])}
        for e in monoid
        if after(e, e) == e
    ]
    largest = max(groups, key=len)
    if len(largest) == 1:
        label = "star-free"  # Schützenberger 1965
    elif len(largest) < 60:
        label = "solvable"  # as every group of fewer than 60 elements
    else:
        inverse = {x: y for x in largest for y in largest if after(x, y) == tuple(range(len(x)))}
        some = sorted(largest)[:20]
        commutators = {
            after(after(x, y), after(inverse[x], inverse[y])) for x in some for y in some
        }
        label = "not solvable" if generated(commutators) == largest else "solvable"
    assert LANGUAGES[name][0] == label


def test_a_table_is_followed_as_it_is_written():
    table = [[0, 1, 2], [2, 2, 0], [1, 0, 2]]
    inputs, states = draw(make("automaton", table=table), 30, 10)
    for x, s in zip(inputs, states, strict=True):
        at = 0
        for symbol, state in zip(x, s, strict=True):
            at = table[at][symbol - 3]
            assert state == at


def test_regexes_of_one_language_make_one_task():
    pairs = [("(0|10*1)*", "0*(10*10*)*"), ("0|1(0|1)", "1(1|0)|0"), ("(01)*", "((01)?)*|")]
    for one, other in pairs:
        assert draw(make("automaton", regex=one), 9, 9) == draw(
            make("automaton", regex=other), 9, 9
        )
    assert draw(make("automaton", name="S3"), 9, 9)[1] != draw(make("automaton"), 9, 9)[1]


def test_the_automaton_of_its_docstring():
    task = make("automaton")
    names = vocabulary(task)
    inputs, states = simulate_all(task, 4)
    (row,) = np.flatnonzero((inputs == [names.index(x) for x in "0110"]).all(axis=1))
    assert [names[s] for s in states[row]] == ["q1", "q3", "q3", "q1"]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"name": "even-pair"}, "name 'even-pair'; did you mean 'even-pairs'"),
        ({"name": 3}, "name '3'"),
        ({"regex": "(01"}, r"'\(01', character 1: its bracket is never closed"),
        ({"regex": "01)"}, "character 3: a bracket is closed"),
        ({"regex": "(ab)*"}, r"character 2: 'a' is no symbol: symbols are 0 … 9"),
        ({"regex": "0|*1"}, r"character 3: '\*' is no symbol"),
        ({"regex": "0+?"}, r"character 3: '\?' is no symbol"),
        ({"regex": "(0|1)*"}, "has one state"),
        ({"regex": "(0|1)*1" + "(0|1)" * 10}, "has more than 1,024 states"),
        ({"regex": 5}, "regex must be a text, got 5"),
        ({"regex": "0", "table": [[0, 1], [1, 0]]}, "a regex or a table, not both"),
        ({"table": [[0, 1]]}, "table must have 2 to 1,024 rows"),
        ({"table": 7}, "table must have 2 to 1,024 rows"),
        ({"table": [[0, 1], [0]]}, r"as many symbols, at least 2; row 1 is \[0\]"),
        ({"table": [[0], [1]]}, r"at least 2; row 0 is \[0\]"),
        ({"table": [[0, 1], [2, 0]]}, "row 1 of table leads to 2; states are 0 … 1"),
        ({"table": [[0, 1], ["x", 0]]}, "row 1 of table leads to 'x'"),
    ],
)
def test_automata_that_make_no_sense_are_refused_in_one_line(params, message):
    with pytest.raises(KbenchError, match=message) as refused:
        make("automaton", **params)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("setting", ["regex=(01)*", "table=[[0,1],[1,0]]", "name=S3", "regex=01"])
def test_automata_are_asked_for_on_the_command_line(setting, kbench_here, tmp_path):
    done = kbench_here(
        *("sample", "--task", "automaton", "--set", setting, "--length", 2), cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "\n4 samples in all" in done.stdout


RINGS = [("Z3", "Z3", 6), ("Z5", "Z2", 7), ("Z2", "Z12", 1), ("Z7", "Z4", 20)]


@pytest.mark.parametrize(("first", "second", "n"), RINGS)
def test_composition_of_counters_agrees_with_two_hands_moved_in_turns(first, second, n):
    task = make("composition", first=first, second=second)
    names = vocabulary(task)
    hours = {"a": int(first[1:]), "b": int(second[1:])}
    assert names == [f"{hand}{hour}" for hand in "ab" for hour in range(hours[hand])]
    for x, s in zip(*draw(task, n, len(RINGS)), strict=True):
        at = {"a": 0, "b": 0}
        for k, (token, state) in enumerate(zip(x, s, strict=True)):
            hand = "ab"[k % 2]
            assert names[token][0] == hand
            for _ in range(int(names[token][1:])):
                at[hand] = 0 if at[hand] == hours[hand] - 1 else at[hand] + 1
            assert names[state] == f"{hand}{at[hand]}"


@pytest.mark.parametrize(("first", "second"), [("S3", "A4"), ("Q8", "S3")])
def test_composition_does_to_each_machine_what_permutation_does_to_one(first, second):
    # What `permutation` does is held to points followed through cycles.
    task = make("composition", first=first, second=second)
    size = make("permutation", group=first).vocab_size
    inputs, states = (np.array(a) for a in draw(task, 9, 10))
    for at, offset, group in ((slice(0, None, 2), 0, first), (slice(1, None, 2), size, second)):
        alone = make("permutation", group=group)
        x, s = alone.simulate(inputs[:, at] - offset, inputs[:, at].shape[1])
        assert (x + offset == inputs[:, at]).all() and (s + offset == states[:, at]).all()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"first": "Z0", "second": "Z3"}, "unknown group 'Z0'"),
        ({"first": "Z3", "second": "S"}, "unknown group 'S'"),
        ({"first": 3, "second": "Z3"}, "first must be the name of a group, got 3"),
    ],
)
def test_machines_that_make_no_sense_are_refused_in_one_line(params, message):
    with pytest.raises(KbenchError, match=message) as refused:
        make("composition", **params)
    assert "\n" not in str(refused.value)
