"""One packet of each stream, in literal bytes, by every implementation: what one of them seals the others open.

The native engine has the same bytes in selftest.c; the programs in the kernel are held against the python engine by
test/bpf.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from omni_core.crypto.aead import Aead
from omni_core.dataplane.port import SessionKeys
from omni_core.dataplane.userspace import UserspaceDataPlane
from omni_core.io.native.binary import native_binary
from omni_core.types import Endpoint
from omni_core.wire.header import HEADER, make_nonce

KEY = bytes(range(32))
SESSION, SEQUENCE = 0x1122334455667788, 0x0102030405
FRAME = bytes.fromhex("02000000000b02000000000a0800") + bytes(range(50))
CONTROL = bytes.fromhex("02000000000b02000000000a88b5") + bytes(range(50))
PACKETS = {
    0: "88776655443322110504030201000000050403020100000033830ad0d3c0b1ccd31d0c2344b7a747a4d1fa42e19802afc747de57ac73"
    "0ab4b2454c58f623eb251cf4711ebff500f625cf72c6cf240e051efc6e88e4244492d06a0eecad725235f6f3437b6952a1cb",
    1: "887766554433221105040302010000000504030201000040674aa8fc27d8037b2ac824236a5234ea2beacc50305c82864a1239693b05"
    "c8f4bf896c0c7ef3bf563c5c070379b066eb5c4b5d0a9f1b92b245369f6a74f7e5c6629cc0d51f65c615db5dec666c7c1845",
}
SELFTEST = Path(__file__).parents[2] / "native" / "selftest.c"


def seal(frame: bytes, stream: int) -> bytes:
    nonce = make_nonce(SEQUENCE, stream)
    header = HEADER.pack(SESSION, SEQUENCE, nonce)
    return header + Aead(bytearray(KEY)).seal(nonce, frame, header)


@pytest.mark.parametrize("stream", [0, 1])
def test_the_codec(stream: int) -> None:
    assert seal(CONTROL, stream).hex() == PACKETS[stream]
    assert bytes.fromhex(PACKETS[stream])[23] == stream << 6, "the lane byte is the last of the little-endian nonce"


@pytest.mark.parametrize("stream", [0, 1])
def test_the_python_engine_opens_either_stream(stream: int) -> None:
    plane = UserspaceDataPlane(bytes.fromhex("02000000000b"))
    plane.add_session(SessionKeys(1, 0x99, SESSION, bytearray(b"\1" * 32), bytearray(KEY)), 100.0)
    source = Endpoint("192.0.2.1", 51820)
    plane.set_path(1, source)
    packet = seal(FRAME, stream)
    plane.datagrams_from_underlay([(packet, source), (packet, source)], 101.0)
    assert plane.take_frames() == [FRAME], "once"
    other = seal(FRAME, 1 - stream)
    plane.datagrams_from_underlay([(other, source)], 101.0)
    assert plane.take_frames() == [FRAME], "the streams have windows of their own"


def test_the_native_engine_has_the_same_bytes() -> None:
    text = re.sub(r'"\s*\n\s*"', "", SELFTEST.read_text())
    assert re.findall(r'^\t"([0-9a-f]{208})",$', text, re.MULTILINE) == list(PACKETS.values())
    checked = subprocess.run([native_binary(), "--selftest"], capture_output=True, text=True)
    assert checked.returncode == 0 and "WRONG" not in checked.stdout, checked.stdout
    assert checked.stdout.count("packets of stream") == 2
