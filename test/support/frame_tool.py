"""Raw Ethernet frames of a host, as a program inside its namespace.

    frame_tool.py receive INTERFACE COUNT   says "ready", prints COUNT received test frames as hex, one per line
    frame_tool.py send INTERFACE            sends the frames that standard input has as hex, one per line

Test frames are those whose source MAC begins with MARK, so that the host's own chatter does not count.
"""

from __future__ import annotations

import socket
import struct
import sys
import time

MARK = bytes.fromhex("02feed")
ETH_P_ALL = 3
SOL_PACKET = 263
PACKET_AUXDATA = 8
TP_STATUS_VLAN_VALID = 0x10
TP_STATUS_VLAN_TPID_VALID = 0x40
AUXDATA = struct.Struct("=IIIHHHH")  # linux/if_packet.h, struct tpacket_auxdata
TIMEOUT = 15.0  # s


def receive(interface: str, count: int) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as host:
        host.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        host.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        host.bind((interface, ETH_P_ALL))
        host.settimeout(TIMEOUT)
        print("ready", flush=True)
        while count:
            data, ancillary, _, address = host.recvmsg(65536, socket.CMSG_SPACE(AUXDATA.size))
            if address[2] != socket.PACKET_OUTGOING and data[6:9] == MARK:
                print(with_tag(data, ancillary).hex(), flush=True)
                count -= 1


def with_tag(data: bytes, ancillary: list) -> bytes:
    """The kernel takes the outer VLAN tag off a frame that it hands up, and tells it beside."""
    for level, kind, content in ancillary:
        if level == SOL_PACKET and kind == PACKET_AUXDATA:
            status, _, _, _, _, tci, tpid = AUXDATA.unpack(content[: AUXDATA.size])
            if status & TP_STATUS_VLAN_VALID:
                ethertype = tpid if status & TP_STATUS_VLAN_TPID_VALID else 0x8100
                return data[:12] + struct.pack("!HH", ethertype, tci) + data[12:]
    return data


def send(interface: str) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as host:
        host.bind((interface, 0))
        for number, line in enumerate(sys.stdin):
            host.send(bytes.fromhex(line))
            if number % 16 == 15:
                time.sleep(0.01)  # a TAP's queue has 500 places; this is about contents, not speed


if __name__ == "__main__":
    if sys.argv[1] == "receive":
        receive(sys.argv[2], int(sys.argv[3]))
    else:
        send(sys.argv[2])
