"""Tasks of what is kept where, against slow references that share no code with them."""

import itertools
from collections import Counter

import pytest
from task_samples import draw, make, simulate_all, vocabulary

from kbench.errors import KbenchError

RECALLS = [(2, 2, 0, 5), (4, 2, 0, 3), (9, 5, 0, 8), (40, 3, 0, 2), (4, 4, 1, 6), (7, 3, 3, 4)]


@pytest.mark.parametrize(("keys", "pairs", "hops", "n"), RECALLS)
def test_recall_agrees_with_a_dict_read_from_the_prompt(keys, pairs, hops, n):
    task = make("recall", keys=keys, pairs=pairs, hops=hops)
    names = vocabulary(task)
    for x, s in zip(*draw(task, n, len(RECALLS)), strict=True):
        words, said = [names[token] for token in x], [names[state] for state in s]
        table = dict(zip(words[: 2 * pairs : 2], words[1 : 2 * pairs : 2], strict=True))
        assert len(table) == pairs and len(words) == 2 * pairs + n
        for key, value in zip(words[2 * pairs :], said, strict=True):
            for _ in range(hops or 1):
                key = table[key]
            assert key == value


@pytest.mark.parametrize(("hops", "values"), [(0, "012"), (1, "keys"), (2, "keys")])
def test_recall_has_every_choice_of_pairs_and_queries_once(hops, values):
    task = make("recall", keys=3, pairs=2, hops=hops)
    names = vocabulary(task)
    expected = Counter(
        (a, v, b, w, *asked)
        for a, b in itertools.permutations("abc", 2)
        for v, w in itertools.product(a + b if values == "keys" else values, repeat=2)
        for asked in itertools.product((a, b), repeat=3)
    )
    inputs = simulate_all(task, 3)[0].tolist()
    assert Counter(tuple(names[token] for token in x) for x in inputs) == expected


@pytest.mark.parametrize("hops", [1, 2, 3])
def test_recall_with_hops_meets_lookup(hops):
    # The same table and start: what one query says after h hops, lookup says at length h.
    ways = {"keys": 3, "mapping": "function"}
    looked_up = zip(*(a.tolist() for a in simulate_all(make("lookup", **ways), hops)), strict=True)
    answers = {tuple(x[:-hops]): s[-1] for x, s in looked_up}
    task = make("recall", keys=3, pairs=3, hops=hops)
    inputs, states = (a.tolist() for a in simulate_all(task, 1))
    assert {tuple(x): s[0] for x, s in zip(inputs, states, strict=True)} == answers


HOUSES = [(2, 2, 6), (1, 2, 1), (2, 3, 9), (4, 4, 12), (3, 11, 5), (12, 2, 4)]


@pytest.mark.parametrize(("objects", "boxes", "n"), HOUSES)
def test_tracking_agrees_with_boxes_as_sets(objects, boxes, n):
    task = make("tracking", objects=objects, boxes=boxes)
    names, letters = vocabulary(task), "abcdefghijkl"[:objects]
    moves = {f"{what}>{to}" for what in letters for to in range(boxes)}
    moves |= {f"{box}>{to}" for box, to in itertools.permutations(range(boxes), 2)}
    assert {name for name in names if ">" in name} == moves
    for x, s in zip(*draw(task, n, len(HOUSES)), strict=True):
        words, said = [names[token] for token in x], []
        inside = {str(box): set() for box in range(boxes)}
        for letter, word in zip(letters, words[:objects], strict=True):
            inside[word.removeprefix("@")].add(letter)
        for move in words[objects:-1]:
            what, to = move.split(">")
            moved = {what} if what in letters else inside[what]
            inside = {box: held - moved for box, held in inside.items()}
            inside[to] |= moved
            places = [next(b for b, held in inside.items() if x in held) for x in letters]
            said.append(("." if boxes > 10 else "").join(places))
        asked = inside[words[-1].removeprefix("?")]
        assert [names[state] for state in s] == [*said, f"{{{''.join(sorted(asked))}}}"]


REFUSED = [
    *(("tracking", {"objects": k, "boxes": 2}, f"objects must .* got {k}") for k in (0, 1.5)),
    *(("tracking", {"objects": 2, "boxes": k}, f"boxes must .* got {k}") for k in (-1, 1, True)),
    ("tracking", {"objects": 13, "boxes": 2}, r"boxes\^objects .* 4,096 .* got 2\^13"),
    ("tracking", {"objects": 5, "boxes": 6}, r"boxes\^objects .* 4,096 .* got 6\^5"),
    *(("recall", {"keys": k, "pairs": 2}, f"keys must .* got {k}") for k in (-1, 1, 2.5)),
    *(("recall", {"keys": 4, "pairs": p}, f"pairs must .* got {p}") for p in (1, 5, True)),
    *(("recall", {"keys": 4, "pairs": 2, "hops": h}, f"hops .* got {h}") for h in (-1, 1.5)),
]


@pytest.mark.parametrize(("name", "params", "message"), REFUSED)
def test_parameters_that_make_no_sense_are_refused_in_one_line(name, params, message):
    with pytest.raises(KbenchError, match=f"{name}: {message}") as refused:
        make(name, **params)
    assert "\n" not in str(refused.value)


def read(task, text):
    """The states of one sample, by the names of its tokens."""
    names, words = vocabulary(task), text.split()
    n = next(n for n in range(1, 9) if len(simulate_all(task, n)[0][0]) == len(words))
    inputs, states = (array.tolist() for array in simulate_all(task, n))
    return " ".join(names[s] for s in states[inputs.index([names.index(word) for word in words])])


DOCSTRINGS = [
    ("recall", {"keys": 4, "pairs": 2}, "b 2 d 1 d b d", "1 2 1"),
    ("tracking", {"objects": 2, "boxes": 2}, "@0 @0 a>1 1>0 b>1 ?0", "10 00 01 {a}"),
]


@pytest.mark.parametrize(("name", "params", "sample", "states"), DOCSTRINGS)
def test_tasks_do_what_their_docstrings_show(name, params, sample, states):
    assert read(make(name, **params), sample) == states
