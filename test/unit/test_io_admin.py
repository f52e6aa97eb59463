"""The admin socket: requests, answers, bad clients, stale and live sockets."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
from pathlib import Path

import pytest

from omni_core.errors import ConfigError, OmniError, SystemRefused
from omni_core.io import admin
from omni_core.io.admin import AdminServer, request


async def echo(message):
    return {"said": message.get("text")}


async def refuse(message):
    raise ConfigError("text", "is wrong", "say something else")


async def explode(message):
    return {}["missing"]


async def never(message):
    await asyncio.Event().wait()


def write(path, text) -> None:
    Path(path).parent.mkdir()
    Path(path).write_text(text)


def left(path) -> list[str]:
    return [file.read_text() for file in Path(path).parent.iterdir()]


HANDLERS = {"echo": echo, "refuse": refuse, "explode": explode, "never": never}


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "run" / "omni0.sock")


@pytest.fixture
async def server(path):
    server = AdminServer(path, HANDLERS)
    await server.open()
    yield server
    await server.close()


async def ask(path, command, patience=5.0, **arguments):
    return await asyncio.to_thread(request, path, command, patience, **arguments)


async def raw(path, line: bytes) -> dict:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(line)
    answer = json.loads(await reader.readline())
    writer.close()
    return answer


async def test_a_request_is_answered(server, path):
    assert await ask(path, "echo", text="hello") == {"said": "hello"}
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


async def test_an_error_keeps_its_sentence_and_exit_code(server, path):
    with pytest.raises(OmniError, match=r"text: is wrong\. Fix: say something else") as caught:
        await ask(path, "refuse")
    assert caught.value.exit_code == 2


async def test_a_broken_handler_breaks_nothing_else(server, path, caplog):
    with pytest.raises(OmniError, match="internal error"):
        await ask(path, "explode")
    assert "KeyError" in caplog.text
    assert await ask(path, "echo", text="still there") == {"said": "still there"}


async def until_end(reader, writer) -> bytes:
    try:
        await writer.drain()
        return await reader.read()
    except ConnectionError:
        return b""


@pytest.mark.parametrize(
    "line", [b"\n", b"{\n", b"\xff\n", b"[1]\n", b"null\n", b"{}\n", b'{"command": []}\n', b"[" * 5000 + b"\n"]
)
async def test_nonsense_is_refused_and_the_connection_lives(server, path, line):
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(line)
    assert json.loads(await reader.readline())["ok"] is False
    writer.write(b'{"command": "echo", "text": 1}\n')
    assert json.loads(await reader.readline()) == {"ok": True, "result": {"said": 1}}
    writer.close()


async def test_an_unknown_command_names_those_there_are(server, path):
    with pytest.raises(OmniError, match="echo, explode, never, refuse"):
        await ask(path, "sing")


async def test_an_endless_line_ends_the_connection(server, path, monkeypatch):
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"x" * (admin.LINE_MAX + 100_000))
    assert await until_end(reader, writer) == b""
    writer.close()
    assert await ask(path, "echo", text="other") == {"said": "other"}


async def test_too_many_clients_are_turned_away(server, path):
    writers = [(await asyncio.open_unix_connection(path))[1] for _ in range(admin.CLIENTS_MAX)]
    with pytest.raises(SystemRefused, match=r"ended without an answer|nobody answers"):
        await ask(path, "echo")
    for writer in writers:
        writer.close()
    await asyncio.gather(*(writer.wait_closed() for writer in writers))
    for _ in range(100):
        if not server._clients:
            break
        await asyncio.sleep(0)
    assert await ask(path, "echo", text="room") == {"said": "room"}


async def test_closing_ends_waiting_requests_and_removes_the_socket(path):
    entered = asyncio.Event()

    async def never_again(message):
        entered.set()
        await asyncio.Event().wait()

    server = AdminServer(path, {"never": never_again})
    await server.open()
    waiting = asyncio.create_task(ask(path, "never"))
    await entered.wait()
    await server.close()
    await server.close()
    with pytest.raises(SystemRefused, match="ended without an answer"):
        await waiting
    assert left(path) == []


async def test_a_dead_socket_is_replaced(path):
    Path(path).parent.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
        dead.listen()
    with pytest.raises(SystemRefused, match="nobody answers"):
        await ask(path, "echo")
    server = AdminServer(path, HANDLERS)
    await server.open()
    assert await ask(path, "echo", text=1) == {"said": 1}
    await server.close()


async def test_a_living_socket_is_left_alone(server, path):
    second = AdminServer(path, HANDLERS)
    with pytest.raises(ConfigError, match="another process") as caught:
        await second.open()
    assert caught.value.field == "run_dir"
    await second.close()
    assert await ask(path, "echo", text=1) == {"said": 1}


async def test_a_file_that_is_no_socket_is_left_alone(path):
    write(path, "precious")
    with pytest.raises(ConfigError, match="cannot be made"):
        await AdminServer(path, HANDLERS).open()
    assert left(path) == ["precious"]


async def test_a_slow_answer_times_out(server, path):
    with pytest.raises(SystemRefused, match=r"no answer .* within 0.1 s"):
        await ask(path, "never", 0.1)


def test_nobody_there(tmp_path):
    with pytest.raises(SystemRefused, match="omni up") as caught:
        request(str(tmp_path / "none.sock"), "status")
    assert caught.value.exit_code == 3
