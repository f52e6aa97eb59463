"""ChaCha20-Poly1305 in BPF (bpf/aead.h) against RFC 8439 and against OpenSSL."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from cryptography.hazmat.primitives.poly1305 import Poly1305
from support.bpf_programs import LoadPrograms
from support.own_network import own_network

from omni_core.constants import HEADER_SIZE, MAX_FRAME, TAG_SIZE
from omni_core.io.synapse import loader, syscalls

pytestmark = pytest.mark.netns

SOURCE = Path(__file__).parents[2] / "bpf/test/aead_test.c"
PROGRAMS = dict.fromkeys(("test_seal", "test_open", "test_block", "test_poly"), "xdp")
XDP_DROP, XDP_PASS = 1, 2
STANDARD = 1518 + 4  # SYNAPSE_MAX_FRAME by default
RUN_MAX = 3400  # bytes of a packet: BPF_PROG_TEST_RUN gives XDP programs one page, less head room and tail room


class Bench:
    """The test programs, with their key set: packets in, packets out."""

    def __init__(self, loaded: loader.Loaded) -> None:
        self.programs = loaded.programs
        self.table = loaded.maps["aead_test"]
        self.offset = 0

    def set(self, key: bytes, offset: int = 0, more: int = 0) -> None:
        self.offset = offset
        self.table.update(bytes(4), key + struct.pack("=II", offset, more & 0xFFFFFFFF))

    def run(self, name: str, packet: bytes) -> bytes | None:
        """The packet afterwards; None when the program dropped it."""
        done = self.programs[name].test_run(packet)
        assert done.retval in (XDP_DROP, XDP_PASS)
        return done.data if done.retval == XDP_PASS else None

    def seal(self, header: bytes, frame: bytes) -> bytes | None:
        """-> ciphertext and tag; None when refused."""
        front = bytes(range(self.offset))
        done = self.run("test_seal", front + header + b"\xa5" * TAG_SIZE + frame)
        assert done is None or done.startswith(front + header)
        return done and done[len(front) + HEADER_SIZE :]

    def open(self, header: bytes, sealed: bytes) -> bytes | None:
        """-> frame; None when refused."""
        front = bytes(range(self.offset))
        done = self.run("test_open", front + header + sealed)
        assert done is None or done.startswith(front + header)
        return done and done[len(front) + HEADER_SIZE : -TAG_SIZE]


@pytest.fixture(scope="module")
def standard(load_programs: LoadPrograms) -> Bench:
    return Bench(load_programs(SOURCE, {}, PROGRAMS))


@pytest.fixture(scope="module")
def jumbo(load_programs: LoadPrograms) -> Bench:
    return Bench(load_programs(SOURCE, {"SYNAPSE_MAX_FRAME": MAX_FRAME}, PROGRAMS))


def by_openssl(key: bytes, header: bytes, frame: bytes) -> bytes:
    return ChaCha20Poly1305(key).encrypt(bytes(4) + header[16:], frame, header)


# --- RFC 8439 --------------------------------------------------------------------------------------------------------

_BLOCKS = {  # appendix A.1: key, block number, nonce, key stream
    "1": ("00" * 32, 0, 0, "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
                           "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586"),
    "2": ("00" * 32, 1, 0, "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed"
                           "29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f"),
    "3": ("00" * 31 + "01", 1, 0, "3aeb5224ecf849929b9d828db1ced4dd832025e8018b8160b82284f3c949aa5a"
                                  "8eca00bbb4a73bdad192b5c42f73f2fd4e273644c8b36125a64addeb006c13a0"),
    "4": ("00ff" + "00" * 30, 2, 0, "72d54dfbf12ec44b362692df94137f328fea8da73990265ec1bbbea1ae9af0ca"
                                    "13b25aa26cb4a648cb9b9d1be65b2c0924a66c54d545ec1b7374f4872e99f096"),
    "5": ("00" * 32, 0, 2 << 56, "c2c64d378cd536374ae204b9ef933fcd1a8b2288b3dfa49672ab765b54ee27c7"
                                 "8a970e0e955c14f3a88e741b97c286f75f8fc299e8148362fa198a39531bed6d"),
}  # fmt: skip


@pytest.mark.parametrize("case", _BLOCKS)
def test_rfc_key_stream(standard: Bench, case: str) -> None:
    key, block, nonce, stream = _BLOCKS[case]
    standard.set(bytes.fromhex(key))
    done = standard.run("test_block", struct.pack("<I4xQ", block, nonce) + bytes(64))
    assert done is not None and done[16:].hex() == stream


_SUMS = {  # appendix A.3: those whose text is whole blocks, as all of an AEAD is: r, s, text, tag
    "1": ("00" * 16, "00" * 16, "00" * 64, "00" * 16),
    "5": ("02" + "00" * 15, "00" * 16, "ff" * 16, "03" + "00" * 15),
    "6": ("02" + "00" * 15, "ff" * 16, "02" + "00" * 15, "03" + "00" * 15),
    "7": ("01" + "00" * 15, "00" * 16, "ff" * 16 + "f0" + "ff" * 15 + "11" + "00" * 15, "05" + "00" * 15),
    "8": ("01" + "00" * 15, "00" * 16, "ff" * 16 + "fb" + "fe" * 15 + "01" * 16, "00" * 16),
    "9": ("02" + "00" * 15, "00" * 16, "fd" + "ff" * 15, "fa" + "ff" * 15),
    "10": (
        "01" + "00" * 7 + "04" + "00" * 7,
        "00" * 16,
        "e33594d7505e43b9" + "00" * 8 + "3394d7505e4379cd01" + "00" * 7 + "00" * 16 + "01" + "00" * 15,
        "14" + "00" * 7 + "55" + "00" * 7,
    ),
    "11": (
        "01" + "00" * 7 + "04" + "00" * 7,
        "00" * 16,
        "e33594d7505e43b9" + "00" * 8 + "3394d7505e4379cd01" + "00" * 7 + "00" * 16,
        "13" + "00" * 15,
    ),
}


@pytest.mark.parametrize("case", _SUMS)
def test_rfc_poly1305(standard: Bench, case: str) -> None:
    r, s, text, tag = map(bytes.fromhex, _SUMS[case])
    assert Poly1305.generate_tag(r + s, text) == tag  # the vector as it was typed
    done = standard.run("test_poly", r + s + text)
    assert done is not None and done[:16] == tag


def test_rfc_decryption(standard: Bench) -> None:
    """Appendix A.5. Its associated data has 12 bytes and ours 24, so the tag is OpenSSL's."""
    key = bytes.fromhex("1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0")
    nonce = bytes.fromhex("0102030405060708")
    sealed = bytes.fromhex(
        "64a0861575861af460f062c79be643bd5e805cfd345cf389f108670ac76c8cb24c6cfc18755d43eea09ee94e382d26b0bdb7b73c321b01"
        "00d4f03b7f355894cf332f830e710b97ce98c8a84abd0b948114ad176e008d33bd60f982b1ff37c8559797a06ef4f0ef61c186324e2b35"
        "06383606907b6a7c02b0f9f6157b53c867e4b9166c767b804d46a59b5216cde7a4e99040c5a40433225ee282a1b0a06c523eaf4534d7f8"
        "3fa1155b0047718cbc546a0d072b04b3564eea1b422273f548271a0bb2316053fa76991955ebd63159434ecebb4e466dae5a1073a67276"
        "27097a1049e617d91d361094fa68f0ff77987130305beaba2eda04df997b714d6c6f2c29a6ad5cb4022b02709b"
    )
    frame = (
        b"Internet-Drafts are draft documents valid for a maximum of six months and may be updated, replaced, or "
        b"obsoleted by other documents at any time. It is inappropriate to use Internet-Drafts as reference material "
        b"or to cite them other than as /\xe2\x80\x9cwork in progress./\xe2\x80\x9d"
    )
    header = bytes.fromhex("f33388860000000000004e91") + bytes(4) + nonce
    standard.set(key)
    tag = by_openssl(key, header, frame)[-16:]
    assert standard.open(header, sealed + tag) == frame
    assert standard.seal(header, frame) == sealed + tag


# --- OpenSSL ---------------------------------------------------------------------------------------------------------


def test_blocks_of_any_number(standard: Bench, seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(300):
        key, nonce, block = draw.randbytes(32), draw.randbytes(8), draw.choice([draw.getrandbits(32), 2**32 - 1, 0])
        standard.set(key)
        done = standard.run("test_block", struct.pack("<I4x", block) + nonce + bytes(64))
        stream = Cipher(ChaCha20(key, struct.pack("<II", block, 0) + nonce), None).encryptor().update(bytes(64))
        assert done is not None and done[16:] == stream


def test_sums_that_carry_far(standard: Bench, seed: int) -> None:
    """Bytes that are mostly 00 or ff, and sums next to the prime and to 2^130: where carries go through all limbs."""
    draw = random.Random(seed)
    largest = bytes.fromhex("ffffff0ffcffff0ffcffff0ffcffff0f")  # r after clamping (section 2.5.1)
    for _ in range(2000):
        r = draw.choice([largest, draw.randbytes(16), (1).to_bytes(16, "little"), b"\xff" * 16])
        s = draw.choice([b"\xff" * 16, bytes(16), draw.randbytes(16)])
        text = b"".join(
            draw.choice([b"\xff" * 16, bytes(16), draw.randbytes(16), b"\xfb" + b"\xff" * 15, b"\x05" + bytes(15)])
            for _ in range(draw.choice([1, 2, 3, 8, 90]))
        )
        done = standard.run("test_poly", r + s + text)
        assert done is not None and done[:16] == Poly1305.generate_tag(r + s, text)


def test_ten_thousand_frames_of_every_length(standard: Bench, seed: int) -> None:
    draw = random.Random(seed)
    lengths = list(range(14, STANDARD + 1))
    lengths += draw.choices(lengths, k=10_000 - len(lengths))
    for number, length in enumerate(lengths):
        if number % 8 == 0:  # alignments too: behind Ethernet, IPv4 or IPv6, VLAN tags
            key, offset = draw.randbytes(32), draw.choice([0, 14, 42, 46, 62, draw.randrange(64)])
            cipher = ChaCha20Poly1305(key)
            standard.set(key, offset)
        header, frame = draw.randbytes(HEADER_SIZE), draw.randbytes(length)
        sealed = cipher.encrypt(bytes(4) + header[16:], frame, header)
        assert standard.seal(header, frame) == sealed, f"sealing {length} bytes"
        assert standard.open(header, sealed) == frame, f"opening {length} bytes"


@pytest.mark.parametrize("length", [14, 15, 16, 17, 63, 64, 65, 128, 150])
def test_every_flipped_bit_is_noticed(standard: Bench, length: int, seed: int) -> None:
    draw = random.Random(seed)
    key, header, frame = draw.randbytes(32), draw.randbytes(HEADER_SIZE), draw.randbytes(length)
    standard.set(key)
    packet = header + by_openssl(key, header, frame)
    for bit in range(8 * len(packet)):
        forged = bytearray(packet)
        forged[bit // 8] ^= 1 << bit % 8
        assert standard.run("test_open", bytes(forged)) is None, f"bit {bit}"
    assert standard.open(header, packet[HEADER_SIZE:]) == frame
    for bit in range(256):
        wrong = bytearray(key)
        wrong[bit // 8] ^= 1 << bit % 8
        standard.set(bytes(wrong))
        assert standard.run("test_open", packet) is None, f"bit {bit} of the key"


def test_a_wrong_length_is_refused(standard: Bench, seed: int) -> None:
    draw = random.Random(seed)
    key, header = draw.randbytes(32), draw.randbytes(HEADER_SIZE)
    for length in (14, 16, 64, 100, 128, STANDARD):
        frame = draw.randbytes(length)
        packet = header + by_openssl(key, header, frame)
        for more in (*range(-length, 0), *range(1, 70), 1 << 16, 1 << 31, (1 << 31) - 1):
            standard.set(key, more=more)
            assert standard.run("test_open", packet) is None, f"{length} bytes, said to be {length + more}"
            if more > 0:
                assert standard.run("test_seal", packet) is None, f"{length} bytes, said to be {length + more}"
    standard.set(key)
    for length in (STANDARD + 1, STANDARD + 64, 2000):
        assert standard.seal(header, bytes(length)) is None
        assert standard.open(header, by_openssl(key, header, bytes(length))) is None


def test_a_shorter_length_seals_that_much(standard: Bench, seed: int) -> None:
    draw = random.Random(seed)
    key, header, frame = draw.randbytes(32), draw.randbytes(HEADER_SIZE), draw.randbytes(200)
    for length in range(14, 200):
        standard.set(key, more=length - 200)
        sealed = by_openssl(key, header, frame[:length])
        done = standard.seal(header, frame)
        assert done is not None and done[: len(sealed)] == sealed
        assert done[len(sealed) :] == frame[length:]


# --- the jumbo build -------------------------------------------------------------------------------------------------


def test_jumbo_build(jumbo: Bench, seed: int) -> None:
    draw = random.Random(seed)
    for length in (14, 64, *draw.choices(range(14, RUN_MAX - HEADER_SIZE - TAG_SIZE), k=200)):
        key, header, frame = draw.randbytes(32), draw.randbytes(HEADER_SIZE), draw.randbytes(length)
        jumbo.set(key)
        sealed = by_openssl(key, header, frame)
        assert jumbo.seal(header, frame) == sealed and jumbo.open(header, sealed) == frame
        forged = bytearray(sealed)
        forged[draw.randrange(len(forged))] ^= 1 << draw.randrange(8)
        assert jumbo.open(header, bytes(forged)) is None


@contextlib.contextmanager
def through(program: syscalls.BpfProgram, pin: Path) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A veth pair with the program at one end: what is sent into the first socket comes out of the second."""
    syscalls.obj_pin(program.fd, pin)
    try:
        with own_network():
            for command in (
                "link add aead0 mtu 9300 type veth peer name aead1 mtu 9300",
                f"link set aead1 xdpgeneric pinned {pin}",
                "link set aead0 up",
                "link set aead1 up",
            ):
                subprocess.run(["ip", *command.split()], check=True)
            with (
                socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender,
                socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88B6)) as receiver,
            ):
                sender.bind(("aead0", 0))
                receiver.bind(("aead1", 0x88B6))
                receiver.settimeout(5)
                yield sender, receiver
    finally:
        pin.unlink()


@pytest.mark.parametrize("name", ["test_seal", "test_open"])
def test_jumbo_frames_on_a_device(jumbo: Bench, pin_directory: Path, seed: int, name: str) -> None:
    """Longer than BPF_PROG_TEST_RUN allows: XDP in generic mode, which hands over whole jumbo frames."""
    draw = random.Random(seed)
    key, ethernet = draw.randbytes(32), bytes.fromhex("02000000000a02000000000b88b6")
    jumbo.set(key, offset=len(ethernet))
    with through(jumbo.programs[name], pin_directory / f"aead_{name}") as (sender, receiver):
        for length in (MAX_FRAME, MAX_FRAME - 1, *draw.choices(range(RUN_MAX, MAX_FRAME), k=60)):
            header, frame = draw.randbytes(HEADER_SIZE), draw.randbytes(length)
            sealed = by_openssl(key, header, frame)
            if name == "test_seal":
                sender.send(ethernet + header + bytes(TAG_SIZE) + frame)
                assert receiver.recv(65536) == ethernet + header + sealed
            else:
                sender.send(ethernet + header + sealed)
                assert receiver.recv(65536)[:-TAG_SIZE] == ethernet + header + frame


# --- what the verifier and the stack allow ---------------------------------------------------------------------------


def test_what_the_verifier_walks(standard: Bench, jumbo: Bench) -> None:
    """Its limit is a million instructions, and the programs around have a share in it."""
    for bench, most in ((standard, 60_000), (jumbo, 320_000)):
        for name in ("test_seal", "test_open"):
            program = bench.programs[name]
            print(f"{name}: {program.instructions} instructions, {program.verified_instructions} walked")
            assert program.verified_instructions <= most
