"""Each task against a slow reference that knows its docstring and its input tokens, and no more.

The references take one sample at a time, mostly by what `token_name` prints, and share neither
code nor algorithm with the tasks: points are followed through cycles, tables are dicts, maps are
explored, programs are parsed.
"""

import itertools
import math
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from task_samples import draw, make, simulate_all, vocabulary

from kbench.data import splits as data
from kbench.data.splits import Source, universe
from kbench.errors import KbenchError

GROUPS = {  # how many elements there are of each order, as known from mathematics
    "S3": {1: 1, 2: 3, 3: 2},
    "S4": {1: 1, 2: 9, 3: 8, 4: 6},
    "S5": {1: 1, 2: 25, 3: 20, 4: 30, 5: 24, 6: 20},
    "A4": {1: 1, 2: 3, 3: 8},
    "A5": {1: 1, 2: 15, 3: 20, 5: 24},
    "D8": {1: 1, 2: 5, 4: 2},
    "D20": {1: 1, 2: 11, 5: 4, 10: 4},
    "Q8": {1: 1, 2: 1, 4: 6},
    "Z60": {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 2, 10: 4, 12: 4, 15: 8, 20: 8, 30: 8, 60: 16},
    "Z2xZ2": {1: 1, 2: 3},
    "S3xZ2": {1: 1, 2: 7, 3: 2, 6: 2},
    "A4xZ5": {1: 1, 2: 3, 3: 8, 5: 4, 10: 12, 15: 32},
}
IN_CYCLES = [name for name in GROUPS if name not in ("Z60", "D20")]  # these have over nine points
PRODUCTS = [(group, "elements", n) for group, n in zip(IN_CYCLES, itertools.cycle([1, 5, 20]))]
PRODUCTS += [(group, "generators", 12) for group in ("S3", "S5", "Q8", "A4xZ5")]


def follow(names):
    """Where the points 1 … 9 stand after each of the permutations in turn."""
    points, after = "123456789", []
    for name in names:
        cycles = [] if name == "id" else name[1:-1].split(")(")
        to = "".join(cycle[1:] + cycle[0] for cycle in cycles)
        points = points.translate(str.maketrans("".join(cycles), to))
        after.append(points)
    return after


def cayley(task):
    """table[x, s], from the samples of length two: first s, then x."""
    words, states = simulate_all(task, 2)
    table = np.full((task.vocab_size, task.vocab_size), -1)
    table[words[:, 1], words[:, 0]] = states[:, 1]
    return table


@pytest.mark.parametrize(("group", "tokens", "n"), PRODUCTS)
def test_permutations_agree_with_points_followed_one_by_one(group, tokens, n):
    task = make("permutation", group=group, tokens=tokens)
    names = vocabulary(task)
    where = [follow([name])[0] for name in names]
    assert len(set(where)) == len(names)
    pairs = [words.tolist() for words in simulate_all(task, 2)]  # the whole Cayley table
    for inputs, states in (pairs, draw(task, n, len(PRODUCTS))):
        for x, s in zip(inputs, states, strict=True):
            assert [where[state] for state in s] == follow(names[token] for token in x)


@pytest.mark.parametrize("group", GROUPS)
def test_groups_are_those_of_mathematics(group):
    table = cayley(make("permutation", group=group))
    whole = np.arange(len(table))
    # A group: a Latin square, associative, in which 0 changes nothing.
    assert (whole == np.sort(table, axis=0).T).all() and (np.sort(table, axis=1) == whole).all()
    assert (table[0] == whole).all() and (table[:, 0] == whole).all()
    assert (table[table] == table[whole[:, None, None], table]).all()
    orders = Counter()
    for x in whole:
        power, order = x, 1
        while power:
            power, order = table[x, power], order + 1
        orders[order] += 1
    assert orders == GROUPS[group]
    assert (table == table.T).all() == (group in ("Z60", "Z2xZ2"))


@pytest.mark.parametrize("group", GROUPS)
def test_generators_come_with_identity_and_inverses_and_reach_the_group(group):
    table = cayley(make("permutation", group=group))
    words, _ = simulate_all(make("permutation", group=group, tokens="generators"), 1)
    alphabet = set(words.ravel().tolist())
    assert 0 in alphabet and len(alphabet) < len(table)
    assert alphabet == {int(np.flatnonzero(table[x] == 0)[0]) for x in alphabet}
    reached, new = set(), {0}
    while new:
        reached |= new
        new = {int(table[x, s]) for x in alphabet for s in new} - reached
    assert reached == set(range(len(table)))


@pytest.mark.parametrize(
    ("one", "other"),
    [(make("modadd", m=m), make("permutation", group=f"Z{m}")) for m in (2, 3, 5, 12, 60)]
    + [(make("parity"), make("modadd", m=2)), (make("parity"), make("permutation", group="S2"))],
    ids=str,
)
def test_cyclic_groups_are_modular_addition_down_to_the_splits(one, other):
    assert draw(one, 9, 1) == draw(other, 9, 1)
    for how in ("outcome", "cot", "aligned"):
        pair = [source(task, how, (1, 2, 4, 9), 50).splits(60, seed=3) for task in (one, other)]
        assert [split.sha256() for split in pair[0]] == [split.sha256() for split in pair[1]]


@pytest.mark.parametrize("n", [2, 8, 40, 100])
def test_cycle_agrees_with_a_walk_around_five_places(n):
    forward, back = {0: 1, 1: 2, 2: 3, 3: 4, 4: 0}, {0: 4, 1: 0, 2: 1, 3: 2, 4: 3}
    for x, s in zip(*draw(make("cycle"), n, 4), strict=True):
        place = 0
        for token, state in zip(x, s, strict=True):
            place = {0: place, 1: forward[place], 4: back[place]}[token]
            assert state == place


@pytest.mark.parametrize("n", [3, 10, 40, 100])
def test_parity_agrees_with_a_count_of_the_ones(n):
    for x, s in zip(*draw(make("parity"), n, 4), strict=True):
        word = "".join(map(str, x))
        assert s == [word[:k].count("1") % 2 for k in range(1, n + 1)]


TABLES = [(keys, how) for keys in (2, 3, 4, 9, 16, 40) for how in ("permutation", "function")]


def parse(prompt, keys):
    """The order of the keys, the table, the start and the hops."""
    order, values = prompt[: 2 * keys : 2], prompt[1 : 2 * keys : 2]
    assert sorted(order) == list(range(keys))
    return tuple(order), dict(zip(order, values, strict=True)), prompt[2 * keys], prompt[2 * keys :]


@pytest.mark.parametrize(("keys", "mapping"), TABLES)
def test_lookup_agrees_with_a_dict_read_from_the_prompt(keys, mapping):
    task, n = make("lookup", keys=keys, mapping=mapping), keys % 7 + 3
    assert vocabulary(task).index("hop") == keys
    for x, s in zip(*draw(task, n, len(TABLES)), strict=True):
        _, table, key, rest = parse(x, keys)
        assert rest == [key] + [keys] * n
        assert mapping == "function" or sorted(table.values()) == list(range(keys))
        for state in s:
            key = table[key]
            assert state == key


@pytest.mark.parametrize(("keys", "mapping"), TABLES[:5])
def test_lookup_has_each_order_with_each_table_and_each_start_once(keys, mapping):
    seen = Counter()
    for x in simulate_all(make("lookup", keys=keys, mapping=mapping), 2)[0].tolist():
        order, table, start, _ = parse(x, keys)
        seen[order, tuple(table[key] for key in range(keys)), start] += 1
    orders = list(itertools.permutations(range(keys)))
    functions = list(itertools.product(range(keys), repeat=keys))
    tables = orders if mapping == "permutation" else functions
    assert seen == Counter(itertools.product(orders, tables, range(keys)))


MOVES = {"up": (0, -1), "down": (0, 1), "left": (-1, 0), "right": (1, 0)}
GRIDS = [(3, 3, 2, 1, 7), (8, 8, 16, 1, 150), (4, 3, 0, 5, 20), (1, 7, 3, 2, 12), (5, 4, 11, 3, 40)]


def walks(task, n, cases):
    """Of each random sample the actions, by name, and the cells they led to, as (x, y)."""
    names = vocabulary(task)
    cells = [tuple(map(int, name.split(","))) for name in names[:-4]]
    assert cells == [(x, y) for y in range(task.h) for x in range(task.w)]  # row by row
    samples = zip(*draw(task, n, cases), strict=True)
    return [([names[token] for token in x], [cells[state] for state in s]) for x, s in samples]


def step(cell, action, free):
    (x, y), (dx, dy) = cell, MOVES[action]
    return (x + dx, y + dy) if (x + dx, y + dy) in free else cell


def explore(some):
    """The map as these walks show it: s_0, and the cells that can be entered."""
    free = {cell for _, cells in some for cell in cells}
    first = {actions[0]: cells[0] for actions, cells in some}
    assert first.keys() == MOVES.keys()
    (start,) = [c for c in free if all(step(c, a, free) == end for a, end in first.items())]
    return start, free


@pytest.mark.parametrize(("w", "h", "walls", "map_seed", "n"), GRIDS)
def test_gridnav_agrees_with_a_map_explored_on_half_of_the_walks(w, h, walls, map_seed, n):
    every = walks(make("gridnav", w=w, h=h, walls=walls, map_seed=map_seed), n, len(GRIDS))
    start, free = explore(every[: len(every) // 2])
    assert len(free) == w * h - walls  # so that there is a way to every free cell
    blocked = set()
    for actions, cells in every:
        for before, action, after in zip([start, *cells[:-1]], actions, cells, strict=True):
            assert abs(after[0] - before[0]) + abs(after[1] - before[1]) <= 1
            assert after == step(before, action, free)
            if after == before:
                blocked.add((before, action))
    # An action that keeps one cell and sends another there merges the two, as in no group.
    moving = set(itertools.product(free, MOVES)) - blocked
    assert any((step(cell, action, free), action) in blocked for cell, action in moving)


def test_the_map_depends_on_its_seed_and_never_changes():
    def picture(**params):
        task = make("gridnav", **params)
        start, free = explore(walks(task, 30, 20))
        mark = dict.fromkeys(free, ".") | {start: "s"}
        return ["".join(mark.get((x, y), "#") for x in range(task.w)) for y in range(task.h)]

    # Pinned as drawn once: on another map every N* would be another.
    assert picture(w=3, h=3, walls=2) == ["..#", "#s.", "..."]
    assert len({tuple(picture(w=4, h=3, walls=3, map_seed=seed)) for seed in range(8)}) > 4


FILES = [(2, 3, 6), (3, 5, 10), (2, 2, 1), (4, 2, 20), (2, 11, 8), (3, 16, 5)]


def execute(program, r, m):
    """What stands in the registers after each line; after a query, the value alone."""
    value, said = {f"r{i}": i % m for i in range(r)}, []
    for line in program[:-1]:
        to, sign, what = re.fullmatch(r"(r\d+)(\+=|:=)(r\d+|1)", line).groups()
        amount = 1 if what == "1" else value[what]
        value[to] = (amount + (value[to] if sign == "+=" else 0)) % m
        said.append(("." if m > 10 else "").join(map(str, value.values())))
    return [*said, f"={value[program[-1].removeprefix('?')]}"]


@pytest.mark.parametrize(("r", "m", "n"), FILES)
def test_registers_agree_with_a_parsed_program(r, m, n):
    task = make("registers", r=r, m=m)
    names = vocabulary(task)
    first = m**r + m  # of the instructions, which are all these:
    lines = {f"r{i}{op}r{j}" for i in range(r) for j in range(r) if i != j for op in ("+=", ":=")}
    assert set(names[first:-r]) == lines | {f"r{i}+=1" for i in range(r)}
    for x, s in zip(*draw(task, n, len(FILES)), strict=True):
        program = [names[token] for token in x]
        assert [names[state] for state in s] == execute(program, r, m)


COUNTS = [
    (make("parity"), lambda n: 2**n),
    (make("cycle"), lambda n: 3**n),
    (make("permutation", group="S3"), lambda n: 6**n),
    (make("permutation", group="S5"), lambda n: 120**n),
    (make("permutation", group="Q8", tokens="generators"), lambda n: 5**n),
    (make("lookup", keys=4), lambda n: 24 * 24 * 4),
    (make("lookup", keys=3, mapping="function"), lambda n: 6 * 27 * 3),
    (make("lookup", keys=6), lambda n: 720 * 720 * 6),
    (make("gridnav", w=3, h=3, walls=2), lambda n: 4**n),
    (make("registers", r=2, m=3), lambda n: 6 ** (n - 1) * 2),
    (make("registers", r=3, m=5), lambda n: 15 ** (n - 1) * 3),
    (make("automaton", name="cycle"), lambda n: 3**n),
    (make("recall", keys=4, pairs=3), lambda n: 24 * 4**3 * 3**n),
    (make("composition", first="Z3", second="Z4"), lambda n: 3 ** -(-n // 2) * 4 ** (n // 2)),
    (make("tracking", objects=2, boxes=3), lambda n: 9 * 12 ** (n - 1) * 3),
]


@pytest.mark.parametrize(("task", "count"), COUNTS, ids=[str(task) for task, _ in COUNTS])
def test_universes_count_the_distinct_inputs(task, count):
    for n in range(1, 15):
        assert universe(task, n) == count(n)
        if count(n) <= 20_000:
            assert len(set(map(tuple, simulate_all(task, n)[0].tolist()))) == count(n)


def source(task, supervision, lengths, most):
    fields = {"max_validation": most, "max_validation_fraction": 0.2}
    return Source(task=task, supervision=supervision, lengths=lengths, **fields)


@st.composite
def cases(draw):
    """A source, a seed, how many samples it holds out, and how many it is to train on."""
    task, count = draw(st.sampled_from(COUNTS))
    supervision = draw(st.sampled_from(["outcome", "cot", "aligned"]))
    lengths = tuple(sorted(draw(st.sets(st.integers(1, 9), min_size=1, max_size=4))))
    most = draw(st.integers(1, 200))
    held_out = min(most, sum(count(n) // 5 for n in lengths))
    n_samples = draw(st.integers(1, min(sum(map(count, lengths)) - held_out, 400)))
    seed = draw(st.integers(0, 2**32))
    return source(task, supervision, lengths, most), seed, held_out, n_samples


@pytest.mark.parametrize("permuted_up_to", [data.SMALL_UNIVERSE, 1])
@settings(max_examples=100, derandomize=True)  # per path, so 200
@given(case=cases(), share=st.floats(0, 1))
def test_splits_are_unique_disjoint_nested_and_of_the_size_asked_for(permuted_up_to, case, share):
    whole, seed, held_out, more = case
    fewer = math.ceil(share * more) or 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "SMALL_UNIVERSE", permuted_up_to)
        small, validation = whole.splits(fewer, seed)
        large, same = whole.splits(more, seed)
    assert same.sha256() == validation.sha256()
    assert (small.tokens == large.tokens[:fewer]).all()
    assert (small.targets == large.targets[:fewer]).all()
    assert (len(small.tokens), len(large.tokens), len(validation.tokens)) == (fewer, more, held_out)
    # Inputs alone do not tell a length from padding, where the targets stand does.
    both = [np.hstack([split.tokens, split.targets >= 0]) for split in (large, validation)]
    assert len(set(map(tuple, np.vstack(both).tolist()))) == more + held_out


def test_tasks_do_what_their_docstrings_show():
    def states(task, text):
        names, words = vocabulary(task), text.split()
        inputs, states = simulate_all(task, n := words.count("hop") or len(words))
        (row,) = np.flatnonzero((inputs == [names.index(word) for word in words]).all(axis=1))
        return " ".join(names[states[row, k]] for k in range(n))

    assert states(make("permutation", group="S3"), "(12) (123)") == "(12) (13)"
    assert states(make("registers", r=2, m=3), "r0+=r1 r1:=r0 r1+=1 ?r1") == "11 11 12 =2"
    assert states(make("lookup", keys=3), "c a a b b c b hop hop") == "c a"
    grids = (make("gridnav", w=3, h=3, map_seed=seed) for seed in range(200))
    middle = next(g for g in grids if simulate_all(g, 1)[1].ravel().tolist() == [1, 7, 3, 5])
    assert states(middle, "right right up") == "2,1 2,1 2,0"


GRID = {"w": 3, "h": 3}
UNKNOWN = ("", "S", "Z1", "Z0", "Z05", "S1", "A2", "D7", "D4", "Q16", "s3", "Z5 ")
REFUSED = [
    *(("permutation", {"group": g}, f"unknown group .*'{g}'") for g in UNKNOWN),
    *(("permutation", {"group": g}, "unknown group") for g in ("S3x", "xS3", "S3xxS3")),
    *(("permutation", {"group": g}, f"{g} .* 1,024") for g in ("S9", "A7", "S5xS4", "D2048")),
    ("permutation", {"group": "S3", "tokens": "x"}, "tokens 'x'"),
    *(("lookup", {"keys": keys}, f"keys .* got {keys}") for keys in (-1, 0, 1, 2.5)),
    ("lookup", {"keys": 3, "mapping": "x"}, "mapping 'x'"),
    *(("gridnav", {"w": w, "h": 32}, f"w × h .* got {w} × 32") for w in (-1, 0, 33)),
    *(("gridnav", {"w": 1, "h": h}, f"w × h .* got 1 × {h}") for h in (-1, 0, 1)),
    *(("gridnav", GRID | {"walls": n}, f"walls .* 9 .* got {n}") for n in (-1, 8, 9)),
    ("gridnav", GRID | {"map_seed": -1}, "map_seed .* got -1"),
    *(("gridnav", GRID | {k: 2.5}, f"{k} .* got 2.5") for k in ("w", "h", "walls", "map_seed")),
    *(("registers", {"r": r, "m": 3}, f"r must .* got {r}") for r in (-1, 0, 1, 2.5)),
    *(("registers", {"r": 2, "m": m}, f"m must .* got {m}") for m in (-1, 0, 1, 2.5)),
    *(("registers", {"r": r, "m": 2}, rf"m\^r .* 4,096 .* got 2\^{r}") for r in (13, 10**9)),
    ("registers", {"r": 2, "m": 65}, r"m\^r .* 4,096 .* got 65\^2"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "params", "message"), REFUSED)
def test_parameters_that_make_no_sense_are_refused_in_one_line(name, params, message):
    with pytest.raises(KbenchError, match=message) as refused:
        make(name, **params)
    assert "\n" not in str(refused.value)
