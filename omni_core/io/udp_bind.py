"""Binding UDP sockets of both families to one port, with errors that name the parameter."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
from collections.abc import Sequence
from typing import Any

from omni_core.errors import ConfigError, SystemRefused

SOCKET_BUFFER = 4 << 20  # bytes; 30 ms at 1 Gbit/s, about one busy moment of the interpreter
# bytes; the kernel doubles it: initiations of 14,000 edges in one moment, at the 2,304 bytes that a packet takes with
# a driver that gives each half a page. To ask each for a cookie takes 0.8 s; edges wait 1 s before they try again.
BURST_BUFFER = 16 << 20
_SO_SNDBUFFORCE = 32  # past net.core.wmem_max; needs CAP_NET_ADMIN
_SO_RCVBUFFORCE = 33
_DRAWS = 16  # tries for a free port that both families have


def bind_all(port: int, addresses: Sequence[str], *, joins: bool = False) -> list[socket.socket]:
    """One non-blocking socket per address (none: every IPv4 and every IPv6 address), all on one port; 0: a free one.

    ``joins``: beside the sockets of an engine of ours that lives (udp_group.py). A family that the kernel does not have
    is left out unless an address asks for it. Raises ConfigError("listen_port" or "listen_address") or SystemRefused;
    then nothing is left open.
    """
    for draw in range(_DRAWS):
        sockets: list[socket.socket] = []
        try:
            chosen = port
            for address in addresses or ("0.0.0.0", "::"):
                sock = _bind(address, chosen, optional=not addresses, joins=joins)
                if sock is not None:
                    sockets.append(sock)
                    chosen = sock.getsockname()[1]
            if sockets:
                return sockets
        except BaseException as error:
            for sock in sockets:
                sock.close()
            # The port that IPv4 found free may be taken on IPv6.
            drawn_again = port == 0 and isinstance(error, ConfigError) and error.field == "listen_port"
            if not drawn_again or draw == _DRAWS - 1:
                raise
    raise SystemRefused("network", "the kernel has neither IPv4 nor IPv6", "enable one of them")


def new_socket(family: int) -> socket.socket:
    """Non-blocking, with large buffers, of one family only; not bound. Raises OSError."""
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        enlarge_receive_buffer(sock, SOCKET_BUFFER)
        _enlarge(sock, _SO_SNDBUFFORCE, socket.SO_SNDBUF, SOCKET_BUFFER)
    except BaseException:
        sock.close()
        raise
    return sock


def _bind(address: str, port: int, *, optional: bool, joins: bool) -> socket.socket | None:
    try:
        version = ipaddress.ip_address(address).version
    except ValueError:
        raise ConfigError(
            "listen_address", f"{address!r} is no IP address", 'give addresses of this machine, or "" for all'
        ) from None
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    try:
        sock = new_socket(family)
    except OSError as error:
        if optional:
            return None
        raise ConfigError(
            "listen_address", f"{address}: no sockets of this family ({error.strerror})", "leave the address out"
        ) from None
    try:
        if joins:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((address, port))
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRNOTAVAIL and optional:
            return None  # IPv6 is switched off by sysctl
        raise refused(address, port, error) from None
    return sock


def enlarge_receive_buffer(sock: socket.socket, size: int) -> None:
    """As far as the kernel allows: without CAP_NET_ADMIN up to net.core.rmem_max."""
    _enlarge(sock, _SO_RCVBUFFORCE, socket.SO_RCVBUF, size)


def _enlarge(sock: socket.socket, force: int, polite: int, size: int) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, force, size)
    except OSError:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, polite, size)


def bind_again(family: int, address: tuple[Any, ...]) -> socket.socket:
    """To an address of ``getsockname``, for us alone. Raises as ``bind_all``."""
    try:
        sock = new_socket(family)
    except OSError as error:
        raise refused(address[0], address[1], error) from None
    try:
        sock.bind(address)
    except OSError as error:
        sock.close()
        raise refused(address[0], address[1], error) from None
    return sock


def refused(address: str, port: int, error: OSError) -> ConfigError | SystemRefused:
    if error.errno == errno.EADDRINUSE:
        return ConfigError(
            "listen_port",
            f"UDP port {port} is in use on {address}",
            f"stop the other program (ss -ulpn sport = :{port}), or choose another port; 0 takes a free one",
        )
    if error.errno == errno.EACCES:
        return ConfigError(
            "listen_port", f"UDP port {port} needs root or CAP_NET_BIND_SERVICE", "choose a port above 1023"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return ConfigError(
            "listen_address", f"{address} is no address of this machine", 'see `ip address`, or give "" for all'
        )
    return SystemRefused("UDP socket", f"{address} port {port}: {error.strerror}", "see `ip address` and `ss -ulpn`")
