"""Names of Nuclei: resolved beside the loop, hanging resolvers, names that come later."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from omni_core.io import underlay
from omni_core.io.underlay import Names
from omni_core.types import Endpoint


class Resolver:
    """Stands in for getaddrinfo: a table, and names that hang until the test is over."""

    def __init__(self) -> None:
        self.table: dict[str, list[str]] = {}
        self.asked: list[str] = []
        self.release = threading.Event()

    def __call__(self, host, port, **options):
        self.asked.append(host)
        if host.startswith("slow"):
            self.release.wait(10)
        if host not in self.table:
            raise socket.gaierror(-3, "Temporary failure in name resolution")
        return [(socket.AF_INET6 if ":" in a else socket.AF_INET, 2, 17, "", (a, 0)) for a in self.table[host]]


@pytest.fixture
def resolver(monkeypatch):
    resolver = Resolver()
    monkeypatch.setattr(underlay.socket, "getaddrinfo", resolver)
    yield resolver
    resolver.release.set()


NUCLEUS = Endpoint("nucleus.example.org", 51820)


async def test_numeric_hosts_are_not_asked_for(resolver):
    names = Names()
    await names.look_up([Endpoint("192.0.2.1", 1), Endpoint("2001:DB8::1", 2)])
    assert resolver.asked == []
    assert names.addresses(Endpoint("2001:DB8::1", 2)) == [("2001:db8::1", 2)]


async def test_all_addresses_in_the_resolvers_order(resolver):
    resolver.table[NUCLEUS.host] = ["2001:db8::5", "192.0.2.5", "2001:db8::5"]
    names = Names()
    await names.look_up([NUCLEUS, NUCLEUS])
    assert names.addresses(NUCLEUS) == [("2001:db8::5", 51820), ("192.0.2.5", 51820)]
    assert resolver.asked == [NUCLEUS.host]


async def test_a_name_may_come_later_and_the_last_answer_stays(resolver):
    names = Names()
    await names.look_up([NUCLEUS])
    assert names.addresses(NUCLEUS) == []
    resolver.table[NUCLEUS.host] = ["192.0.2.5"]
    await names.look_up([NUCLEUS])
    del resolver.table[NUCLEUS.host]
    await names.look_up([NUCLEUS])
    assert names.addresses(NUCLEUS) == [("192.0.2.5", 51820)]


async def test_a_hanging_resolver_delays_only_itself(resolver):
    slow = Endpoint("slow.example.org", 1)
    resolver.table = {slow.host: ["192.0.2.6"], NUCLEUS.host: ["192.0.2.5"]}
    names = Names()
    for _ in range(3):
        await names.look_up([slow, NUCLEUS], timeout=0.02)
    assert names.addresses(NUCLEUS) and not names.addresses(slow)
    assert resolver.asked.count(slow.host) == 1  # one thread, however often it is asked for
    resolver.release.set()
    await names.look_up([slow])
    assert names.addresses(slow) == [("192.0.2.6", 1)]


def test_a_program_ends_while_a_resolver_hangs(resolver):
    asyncio.run(Names().look_up([Endpoint("slow.example.org", 1)], timeout=0.01))
    resolver.release.set()  # the thread answers to a loop that is closed


async def test_names_that_are_none(resolver, monkeypatch):
    monkeypatch.undo()
    names = Names()
    bad = Endpoint("a" * 70 + ".invalid", 1)
    await names.look_up([bad])
    assert names.addresses(bad) == []
