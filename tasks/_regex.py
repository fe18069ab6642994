"""Regular expressions as automata, for `automaton`; no task of its own."""

import functools
import itertools
from collections.abc import Iterable

from kbench.errors import KbenchError

LARGEST = 1024
"""States of the largest automaton: every one is a token."""
Table = tuple[tuple[int, ...], ...]
"""table[state][symbol], the state after it; the automaton starts in state 0."""


def _nfa(regex: str) -> list[tuple[int, int | None, int]]:
    """Thompson's construction: edges (state, symbol, state), from state 0 to state 1.

    An edge without a symbol (None) is free to take.
    """
    edges: list[tuple[int, int | None, int]] = []
    count, at = itertools.count(), 0

    def union() -> tuple[int, int]:
        nonlocal at
        start, end = next(count), next(count)
        while True:
            edges.append((start, None, here := next(count)))
            while regex[at : at + 1] not in ("", "|", ")"):
                first, last = repeated()
                edges.append((here, None, first))
                here = last
            edges.append((here, None, end))
            if regex[at : at + 1] != "|":
                return start, end
            at += 1

    def repeated() -> tuple[int, int]:
        nonlocal at
        sign, place = regex[at], at
        at += 1
        if sign == "(":
            start, end = union()
            if regex[at : at + 1] != ")":
                raise _wrong(regex, "its bracket is never closed", place)
            at += 1
        elif sign in "0123456789":
            edges.append((start := next(count), int(sign), end := next(count)))
        else:
            raise _wrong(regex, f"{sign!r} is no symbol: symbols are 0 … 9", place)
        if (times := regex[at : at + 1]) in ("*", "+", "?"):  # none, one, several times
            edges.extend([(start, None, end)] if times in "*?" else [])
            edges.extend([(end, None, start)] if times in "*+" else [])
            at += 1
        return start, end

    union()
    if at < len(regex):
        raise _wrong(regex, "a bracket is closed that was not opened", at)
    return edges


def _wrong(regex: str, what: str, place: int) -> KbenchError:
    return KbenchError(f"automaton: regex {regex!r}, character {place + 1}: {what}")


@functools.cache
def minimal(regex: str) -> Table:
    """The smallest automaton of a regular expression, its states in the order they are reached.

    Of `0 1 … 9 ( ) | * + ?`; the symbols are those from 0 to the largest one, at least 0 and 1.
    """
    edges = _nfa(regex)
    symbols = range(max([1, *(symbol for _, symbol, _ in edges if symbol is not None)]) + 1)

    def reached(states: Iterable[int], symbol: int | None) -> set[int]:
        return {to for at, read, to in edges if at in states and read == symbol}

    def closed(states: set[int]) -> frozenset[int]:
        while not (more := reached(states, None)) <= states:
            states = states | more
        return frozenset(states)

    number = {closed({0}): 0}
    table: list[list[int]] = []
    for subset in (order := list(number)):  # which grows meanwhile
        table.append([])
        for symbol in symbols:
            if (after := closed(reached(subset, symbol))) not in number:
                number[after] = len(order)
                order.append(after)
            table[-1].append(number[after])
        if len(order) > LARGEST:
            raise KbenchError(f"automaton: regex {regex!r} has more than {LARGEST:,} states")
    # Moore's algorithm: states are told apart by acceptance, then by where their symbols lead.
    block, before = [int(1 in subset) for subset in order], 0
    while len(set(block)) > before:
        before = len(set(block))
        keys = [(block[s], *(block[to] for to in row)) for s, row in enumerate(table)]
        found = {key: i for i, key in enumerate(dict.fromkeys(keys))}
        block = [found[key] for key in keys]
    return tuple(tuple(block[to] for to in table[block.index(b)]) for b in range(before))
