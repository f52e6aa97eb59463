"""Hangs an XDP program that passes everything on an interface, as another program of the machine would; or says what
hangs there.

    attach_tool.py attach INTERFACE MODE    -> its id, and it stays when this ends
    attach_tool.py show INTERFACE           -> [["driver", 17], ...]
"""

from __future__ import annotations

import json
import sys

from support.small_program import small_program

from omni_core.io.netlink import Netlink


def main(command: str, interface: str, mode: str = "driver") -> None:
    with Netlink() as netlink:
        link = netlink.find(interface)
        if link is None:
            sys.exit(f"no {interface}")
        if command == "show":
            print(json.dumps(link.xdp))
            return
        with small_program() as program:
            netlink.attach_xdp(link, program.fd, "driver" if mode == "driver" else "generic")
            print(program.id)


if __name__ == "__main__":
    main(*sys.argv[1:])
