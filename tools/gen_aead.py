#!/usr/bin/env python3
"""Writes bpf/aead_block.h: the inner loops of ChaCha20-Poly1305 (RFC 8439) as BPF assembly.

``tools/gen_aead.py`` writes the file; ``--check`` says whether it is up to date (exit code 1: it is not).

Why not C: bcc makes LLVM emit ISA v2, which has no 32-bit arithmetic, so that compiled ChaCha20 spends half of its
3,000 instructions per block on masks and spills. The kernel has had the 32-bit instructions since 4.18. They are
written as bytes here (bpf/aead_asm.h), a block takes about 1,570 instructions, and each is one x86-64 instruction:

- x + y, x ^ y on 32-bit registers leave the upper half zero; then x * (2^32 + 1) holds x twice, and a shift to the
  right by 32 - n leaves x rotated by n in the lower half. What is dirty above it, the next sum or xor clears.
- 16 words live in 9 registers (the tenth holds 2^32 + 1). A quarter round needs 4; those wait in memory whose next use
  is farthest away (Belady): 7 words stored and 7 loaded per half round, the least that 9 registers allow.
- The first column round is the same for every block of a packet but for the column with the counter. It is done once.

The 20 half rounds wait for each other: 4 steps of sum, xor, multiplication (3 cycles) and shift make 480 cycles. On an
undisturbed Zen 4 core a block takes 492 in a program whose stack frame is less than 256 bytes, and 580 in any larger
one, wherever in it the words are; frames here are larger, the callers' share included. Measured beside the 492:
rotations by two shifts and an or, 545 (less waiting, 600 instructions more); a mix of both, 541 to 574; two quarter
rounds in lockstep, 547 to 554. Beside the 580: two blocks interleaved, 485 to 533 for each, but 64 bytes more of stack,
and short frames would pay for a block that they do not need. While a neighbour uses the core's other thread all are
nearer to each other, at 640 to 780.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

OUTPUT = Path(__file__).resolve().parents[1] / "bpf/aead_block.h"
WIDTH = 118

# --- text ----------------------------------------------------------------------------------------------------------


class Text:
    """Instructions of one function, as calls of the macros in bpf/aead_asm.h, and the memory that they use."""

    def __init__(self) -> None:
        self.lines: list[list[str]] = []
        self.macros: set[str] = set()
        self.reads: dict[str, None] = {}
        self.writes: dict[str, None] = {}

    def comment(self, text: str) -> None:
        self.lines.append([f"/* {text} */"])
        self.lines.append([])

    def add(self, macro: str, *operands: int | str) -> None:
        self.macros.add(macro)
        self.lines[-1].append(f"{macro}({', '.join(map(str, operands))})")

    def load(self, bits: int, register: int, place: str) -> None:
        self.reads[place] = None
        self.add(f"LOAD{bits}", register, place)

    def store(self, bits: int, place: str, register: int) -> None:
        self.writes[place] = None
        self.add(f"STORE{bits}", place, register)

    def __len__(self) -> int:
        return sum(not word.startswith("/*") for line in self.lines for word in line)

    def body(self) -> Iterator[str]:
        for line in self.lines:
            row = ""
            for word in line:
                if row and len(row) + len(word) + 1 > WIDTH - 8:
                    yield row
                    row = ""
                row = f"{row} {word}" if row else word
            if row:
                yield row


def expression(place: str) -> str:
    """The C expression behind a place: a letter (two for the nonce) and an index."""
    kind, index = place.rstrip("0123456789"), place.lstrip("abcdefghijklmnopqrstuvwxyz")
    forms = {
        "x": "((__u32 *)work->stream)[{}]",  # a word of the state that has no register
        "y": "work->stream[{}]",
        "s": "work->start[{}]",
        "n": "((__u32 *)&work->nonce)[{}]",
        "h": "work->poly.h[{}]",
        "r": "work->poly.r[{}]",
        "t": "work->poly.t[{}]",
        "key": "work->key",
        "place": "work->place",
    }
    return forms[kind].format(index)


def function(name: str, about: str, text: Text) -> str:
    """A C function around ``text``. All ten registers are outputs, so the compiler keeps nothing in them."""
    out = [f"/* {about} {len(text)} instructions. */"]
    out += [f"static __always_inline void {name}(struct aead_work *work)", "{"]
    out += [f"\t__u64 {', '.join(f'g{i}' for i in range(10))};", "", "\tasm volatile("]
    out += [f"\t\t{row}" for row in text.body()]
    registers = ", ".join(f'"=&r"(g{i})' for i in range(10))
    written = [f'[{place}] "+m"({expression(place)})' for place in text.writes]
    read = [f'[{place}] "m"({expression(place)})' for place in text.reads if place not in text.writes]
    out += [f"\t\t: {registers},", *listed(written, "  "), *listed(read, ": "), '\t\t: "memory");', "}"]
    return "\n".join(out)


def listed(operands: Sequence[str], lead: str) -> Iterator[str]:
    row = ""
    for operand in operands:
        if row and len(row) + len(operand) + 2 > WIDTH - 20:
            yield f"\t\t{lead}{row},"
            row, lead = "", "  "
        row = f"{row}, {operand}" if row else operand
    yield f"\t\t{lead}{row}"


# --- ChaCha20 ------------------------------------------------------------------------------------------------------

CONSTANTS = (0x61707865, 0x3320646E, 0x79622D32, 0x6B206574)  # RFC 8439 section 2.3
COLUMNS = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15))
DIAGONALS = ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))
COUNTER = 12
WORD_REGISTERS = tuple(range(9))
FACTOR = 9  # the register with 2^32 + 1; free again once the rounds are done


class Step(NamedTuple):
    """``target`` += ``source``, then ``other`` ^= ``target`` and rotated: a line of the quarter round (section 2.1)."""

    target: int
    source: int
    other: int
    rotation: int
    summed: bool = False  # the sum is already in ``target``


def quarter(words: tuple[int, int, int, int]) -> list[Step]:
    a, b, c, d = words
    return [Step(a, b, d, 16), Step(c, d, b, 12), Step(a, b, d, 8), Step(c, d, b, 7)]


def rounds_of_a_block() -> Iterator[tuple[str, list[Step]]]:
    """20 rounds without what chacha_start() has done: of the first round three columns, and each sum that follows from
    those alone (the first of column 0 and those of the diagonals that start with words 1 and 2)."""
    for number in range(1, 21):
        for words in COLUMNS if number % 2 else DIAGONALS:
            steps = quarter(words)
            if number == 1 and words[0] != 0:
                continue
            if number == 1 or (number == 2 and words[0] in (1, 2)):
                steps[0] = steps[0]._replace(summed=True)
            yield f"round {number}: {words}", steps


class Words:
    """Keeps words in registers, and those in memory whose next use is farthest."""

    def __init__(self, text: Text, registers: Iterable[int], homes: dict[int, str], uses: Iterable[int]) -> None:
        """``homes``: where each word is at first. ``uses``: all words in order of use."""
        self.text = text
        self.free = list(registers)
        self.held: dict[int, int] = {}  # word -> register
        self.changed: set[int] = set()
        self.homes = homes
        self.uses = list(uses)
        self.now = 0

    def use(self, *words: int, change: int) -> list[int]:
        """The registers of ``words``, the next in the order of uses; ``change`` will be written to."""
        assert self.uses[self.now : self.now + len(words)] == list(words)
        registers = [self._register(word, words) for word in words]
        self.now += len(words)
        self.changed.add(change)
        return registers

    def take(self, word: int) -> int:
        """The register that holds ``word``, or one that it is loaded into; the caller's from now on."""
        if word in self.held:
            return self.held.pop(word)
        register = self.spare(keep=word)
        self.text.load(32, register, self.homes[word])
        return register

    def spare(self, keep: int | None = None) -> int:
        """A register for something else, if need be that of a word whose neighbour of a pair is not in one either."""
        if not self.free:
            self._evict(next((w for w in self.held if w ^ 1 not in self.held and w ^ 1 != keep), next(iter(self.held))))
        return self.free.pop(0)

    def _register(self, word: int, keep: tuple[int, ...]) -> int:
        if word not in self.held:
            if not self.free:
                self._evict(max((w for w in self.held if w not in keep), key=self._next_use))
            self.held[word] = self.free.pop(0)
            self.text.load(32, self.held[word], self.homes[word])
        return self.held[word]

    def _next_use(self, word: int) -> int:
        try:
            return self.uses.index(word, self.now)
        except ValueError:
            return len(self.uses)

    def _evict(self, word: int) -> None:
        register = self.held.pop(word)
        if word in self.changed:
            self.homes[word] = f"x{word}"
            self.text.store(32, self.homes[word], register)
            self.changed.discard(word)
        self.free.append(register)


def used(steps: Iterable[Step]) -> Iterator[int]:
    for step in steps:
        if not step.summed:
            yield from (step.target, step.source)
        yield from (step.other, step.target)
        yield step.other


def write_steps(text: Text, words: Words, steps: Iterable[Step]) -> None:
    for step in steps:
        if not step.summed:
            text.add("ADD32", *words.use(step.target, step.source, change=step.target))
        text.add("XOR32", *words.use(step.other, step.target, change=step.other))
        (other,) = words.use(step.other, change=step.other)
        text.add("MUL", other, FACTOR)
        text.add("SHR", other, 32 - step.rotation)


def load_factor(text: Text) -> None:
    text.add("SET64", FACTOR, f"{(1 << 32) + 1:#x}")


def chacha_start() -> Text:
    """Into ``start``: the state after the columns of round 1 that do not depend on the counter, word 12."""
    text = Text()
    text.comment("columns 1 to 3 of round 1, and the sums that follow from them")
    load_factor(text)
    pointer, spare = 8, 0
    text.load(64, pointer, "key")
    for words in COLUMNS[1:]:
        a, b, c, d = words
        register = dict(zip(words, (1, 2, 3, 4), strict=True))
        text.add("SET", register[a], f"{CONSTANTS[a]:#x}")
        text.add("FETCH32", register[b], pointer, 4 * (b - 4))
        text.add("FETCH32", register[c], pointer, 4 * (c - 4))
        if d == 13:
            text.add("SET", register[d], 0)  # the first word of the nonce
        else:
            text.load(32, register[d], f"n{d - 14}")
        for step in quarter(words):
            text.add("ADD32", register[step.target], register[step.source])
            text.add("XOR32", register[step.other], register[step.target])
            text.add("MUL", register[step.other], FACTOR)
            text.add("SHR", register[step.other], 32 - step.rotation)
        for word in words:
            text.store(32, f"s{word}", register[word])
    for a, b in ((1, 6), (2, 7)):
        text.load(32, 1, f"s{a}")
        text.load(32, 2, f"s{b}")
        text.add("ADD32", 1, 2)
        text.store(32, f"s{a}", 1)
    text.add("FETCH32", spare, pointer, 0)
    text.store(32, "s4", spare)
    text.add("ADD32_IMM", spare, f"{CONSTANTS[0]:#x}")
    text.store(32, "s0", spare)
    text.add("FETCH32", spare, pointer, 16)
    text.store(32, "s8", spare)
    return text


def chacha_block() -> Text:
    text = Text()
    text.comment("for the rotations")
    load_factor(text)
    rounds = list(rounds_of_a_block())
    homes = {word: f"s{word}" for word in range(16)}
    words = Words(text, WORD_REGISTERS, homes, used(step for _, steps in rounds for step in steps))
    for name, steps in rounds:
        text.comment(name)
        write_steps(text, words, steps)
    text.comment("the sums with the first state, two words at a time")
    pointer, spare = words.spare(), FACTOR
    text.load(64, pointer, "key")
    pairs = set(range(8))
    while pairs:
        pair = max(pairs, key=lambda p: ((2 * p in words.held) + (2 * p + 1 in words.held), -p))
        pairs.discard(pair)
        low, high = words.take(2 * pair), words.take(2 * pair + 1)
        for word, register in ((2 * pair, low), (2 * pair + 1, high)):
            add_first(text, word, register, pointer, spare)
        text.add("SHL", high, 32)
        text.add("OR", low, high)
        text.store(64, f"y{pair}", low)
        words.free += [low, high]
    return text


def add_first(text: Text, word: int, register: int, pointer: int, spare: int) -> None:
    """Adds what ``word`` was before the first round; the sum is clean above bit 31."""
    if word < 4:
        text.add("ADD32_IMM", register, f"{CONSTANTS[word]:#x}")
    elif word == 13:
        text.add("MOV32", register, register)  # it was 0
    else:
        if word < 12:
            text.add("FETCH32", spare, pointer, 4 * (word - 4))
        else:
            text.load(32, spare, "s12" if word == COUNTER else f"n{word - 14}")
        text.add("ADD32", register, spare)


# --- Poly1305 ------------------------------------------------------------------------------------------------------

LIMBS = (0, 1, 2, 3)
COLUMN = (4, 5, 6, 7)
CARRY = COLUMN[3]
SPARE = 8
PACKET = 9


def multiply(text: Text) -> None:
    """h = h * r, as bpf/aead_poly.h says, which also says what h, r and t are; but for the carry out of x3, left in its
    register for fold().

    One block waits for the one before, so what is known early comes first: h1 and h2, then h3, and h0 last.
    """
    for limb in (1, 2, 3, 0):
        first = limb == 1
        for k, column in enumerate(COLUMN):
            register = column if first else SPARE
            text.load(32, register, f"r{k - limb}" if k >= limb else f"t{4 + k - limb}")
            text.add("MUL", register, LIMBS[limb])
            if not first:
                text.add("ADD", column, register)
    for low, high in pairwise(COLUMN):
        text.add("MOV", SPARE, low)
        text.add("SHR", SPARE, 32)
        text.add("ADD", high, SPARE)
    for limb, column in zip(LIMBS[:3], COLUMN, strict=False):
        text.add("MOV32", limb, column)
    text.add("SET64", LIMBS[3], f"{(1 << 34) - 1:#x}")
    text.add("AND", LIMBS[3], CARRY)
    text.add("SHR", CARRY, 34)


def fold(text: Text) -> None:
    """h0 += 5 * carry."""
    text.add("ADD", LIMBS[0], CARRY)
    text.add("SHL", CARRY, 2)
    text.add("ADD", LIMBS[0], CARRY)


def take_in(text: Text, at: int) -> None:
    """h += the 16 bytes of ciphertext at ``at``, and 2^128."""
    for i, limb in enumerate(LIMBS):
        text.add("FETCH32", SPARE, PACKET, at + 4 * i)
        if limb == LIMBS[3]:
            text.add("SET64", COLUMN[0], f"{1 << 32:#x}")
            text.add("ADD", SPARE, COLUMN[0])
        text.add("ADD", limb, SPARE)


def cipher(text: Text, at: int, gap: int) -> None:
    """16 bytes, read ``gap`` bytes behind the place where they go."""
    stream, data = COLUMN[:2]
    for i in (0, 1):
        text.load(64, stream, f"y{at // 8 + i}")
        text.add("FETCH64", data, PACKET, at + 8 * i + gap)
        text.add("XOR", data, stream)
        text.add("PUT64", PACKET, at + 8 * i, data)


def absorb(opening: bool) -> Text:
    text = Text()
    load_sum(text)
    text.load(64, PACKET, "place")
    for at in range(0, 64, 16):
        text.comment(f"bytes {at} to {at + 15}")
        if opening:
            take_in(text, at)
            cipher(text, at, 0)
        else:
            cipher(text, at, 16)
            take_in(text, at)
        if at:
            fold(text)
        multiply(text)
    fold(text)
    store_sum(text)
    return text


def poly_multiply() -> Text:
    text = Text()
    load_sum(text)
    multiply(text)
    fold(text)
    store_sum(text)
    return text


def load_sum(text: Text) -> None:
    text.comment("the sum so far")
    for limb in LIMBS:
        text.load(64, limb, f"h{limb}")


def store_sum(text: Text) -> None:
    text.comment("the new sum")
    for limb in LIMBS:
        text.store(64, f"h{limb}", limb)


# --- file ----------------------------------------------------------------------------------------------------------


FUNCTIONS = (
    ("aead_chacha_start", "``start`` of a packet, from ``key`` and ``nonce``.", chacha_start()),
    ("aead_chacha_block", "``stream``: the key stream of block start[12].", chacha_block()),
    ("aead_poly_multiply", "h times r into h.", poly_multiply()),
    (
        "aead_absorb_seal",
        "64 bytes at ``place`` + 16 encrypted to ``place``, and from there into the Poly1305 sum.",
        absorb(opening=False),
    ),
    (
        "aead_absorb_open",
        "64 bytes at ``place`` into the Poly1305 sum, and decrypted where they are.",
        absorb(opening=True),
    ),
)


def generate() -> str:
    macros = sorted(set().union(*(text.macros for _, _, text in FUNCTIONS)))
    parts = [
        "/* SPDX-License-Identifier: Apache-2.0\n"
        " * Written by tools/gen_aead.py, which says why and how. Do not edit. */\n"
        "#ifndef SYNAPSE_AEAD_BLOCK_H\n#define SYNAPSE_AEAD_BLOCK_H",
        '#include "aead_asm.h"',
        *(function(name, about, text) for name, about, text in FUNCTIONS),
        "\n".join(f"#undef {macro}" for macro in macros),
        "#endif",
    ]
    return "\n\n".join(parts) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 when the file is out of date")
    arguments = parser.parse_args()
    text = generate()
    if not arguments.check:
        OUTPUT.write_text(text)
        return 0
    if OUTPUT.is_file() and OUTPUT.read_text() == text:
        return 0
    print(f"{OUTPUT.name} is out of date: run tools/gen_aead.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
