"""What the programs here have in common: commands on standard input, events on standard output, one a line.

new NAME DOMAIN talk TOPIC PERIOD SIZE      a message every PERIOD s; PERIOD 0: one, kept for who comes later
new NAME DOMAIN listen TOPIC
new NAME DOMAIN quiet                       a participant that is there
end NAME                                    it says good-bye and goes

Topics whose name begins with "latched" are reliable and transient local, others reliable. A message is a text:
"TALKER NUMBER SENT filling", with CLOCK_MONOTONIC, which all namespaces of a machine share. Events, each with its time:

AT made NAME BEGAN            BEGAN: when its making began
AT matched NAME COUNT         of a listener: so many writers; of a talker: readers
AT heard NAME TALKER NUMBER SENT SIZE
AT ended NAME
"""

import sys
import threading
import time
from collections.abc import Callable
from typing import Protocol


class Made(Protocol):
    def end(self) -> None: ...


_lock = threading.Lock()


def say(*words: object) -> None:
    at = time.monotonic()
    with _lock:
        sys.stdout.write(f"{at:.6f} {' '.join(map(str, words))}\n")
        sys.stdout.flush()


def text(name: str, number: int, size: int) -> str:
    return f"{name} {number} {time.monotonic():.6f} ".ljust(size, "x")


def heard(listener: str, message: str) -> None:
    talker, number, sent, *_ = message[:200].split(" ")
    say("heard", listener, talker, number, sent, len(message))


def serve(make: Callable[[str, int, list[str]], Made]) -> None:
    """Until standard input ends. ``make(name, domain, words)``: a participant and what it does."""
    made: dict[str, Made] = {}
    for line in sys.stdin:
        command, name, *words = line.split()
        if command == "new":
            began = time.monotonic()
            made[name] = make(name, int(words[0]), words[1:])
            say("made", name, f"{began:.6f}")
        else:
            made.pop(name).end()
            say("ended", name)
    for each in made.values():
        each.end()
