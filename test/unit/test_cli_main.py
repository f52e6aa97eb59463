"""The command line as a whole: commands, options, errors, exit codes, and that no secret is repeated."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support.command_line import OMNI, REPO, Caller, omni_process

from omni_core.cli import exit_codes, main
from omni_core.errors import ConfigError, OmniError, RegistrationRefused, SystemRefused
from omni_core.version import version


@pytest.fixture
def omni(capsys: pytest.CaptureFixture[str]) -> Caller:
    return Caller(capsys)


def test_version_and_help_of_the_real_command() -> None:
    assert omni_process("--version") == (0, f"omni {version()}\n", "")
    outcome = omni_process("--help")
    assert outcome.code == 0
    for command in main.COMMANDS:
        assert command in outcome.out
    assert omni_process().out == outcome.out


@pytest.mark.parametrize("command", main.COMMANDS)
def test_every_command_has_help(omni: Caller, command: str) -> None:
    outcome = omni(command, "--help")
    assert outcome.code == 0
    assert f"usage: omni {command}" in outcome.out
    assert outcome.err == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["statsu"], ["no such command", "did you mean 'status'"]),
        (["omni://10.0.0.1/c?secret=hunter2"], ["no such command"]),
        (["status", "extra"], ["more arguments than expected", "omni status --help"]),
        (["--bogus"], ["unknown option --bogus"]),
        (["status", "--bogus=hunter2"], ["unknown option --bogus"]),
        (["up", "--secret", "hunter2"], ["unknown option --secret", "mode 0600"]),
        (["up", "--token=omni://hunter2"], ["unknown option --token", "mode 0600"]),
        (["token", "--cluster", "a"], ["--nucleus", "required"]),
        (["ping"], ["VIP"]),
        (["ping", "10.0.0.1", "--count", "0"], ["--count", "out of range"]),
        (["ping", "10.0.0.1", "--interval", "x"], ["--interval"]),
        (["wait", "--peers", "-1"], ["--peers", "out of range"]),
        (["wait", "--timeout", "nan"], ["--timeout", "out of range"]),
    ],
)  # fmt: skip
def test_wrong_command_lines(omni: Caller, arguments: list[str], words: list[str]) -> None:
    outcome = omni(*arguments)
    outcome.assert_refused(2, "command line", *words)
    assert "hunter2" not in outcome.err


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ConfigError("mtu", "is wrong", "mend it"), 2, "omni: mtu: is wrong. Fix: mend it"),
        (SystemRefused("tun", "is missing", "load it"), 3, "omni: tun: is missing. Fix: load it"),
        (RegistrationRefused("VIP taken"), 4, "omni: the Nucleus refused the registration: VIP taken"),
        (OmniError("no"), 1, "omni: no"),
        (
            ModuleNotFoundError("No module named 'nacl'", name="nacl.bindings"),
            3,
            "omni: python: the package pynacl is not installed. Fix: pip install pynacl",
        ),
        (
            RuntimeError("two\nlines"),
            1,
            "omni: unexpected error: RuntimeError: two lines. Fix: repeat it with --debug and report it",
        ),
    ],
)
def test_errors_become_one_line_and_an_exit_code(
    capsys: pytest.CaptureFixture[str], error: Exception, code: int, line: str
) -> None:
    assert main.report(error, debug=False) == code
    assert capsys.readouterr().err == line + "\n"


def test_exit_codes_of_errors_agree() -> None:
    assert (ConfigError.exit_code, SystemRefused.exit_code) == (exit_codes.USAGE, exit_codes.SYSTEM)
    assert (RegistrationRefused.exit_code, OmniError.exit_code) == (exit_codes.REFUSED, exit_codes.FAILED)


def test_exit_codes_are_documented() -> None:
    text = (REPO / "docs" / "cli.md").read_text()
    for name, code in vars(exit_codes).items():
        if name.isupper():
            assert f"| {code} |" in text, name
    for command in main.COMMANDS:
        assert f"omni {command}" in text


def test_debug_shows_the_traceback(omni: Caller) -> None:
    for arguments in (("--debug", "keygen", "--show", "/none"), ("keygen", "--show", "/none", "--debug")):
        outcome = omni(*arguments)
        assert outcome.code == 2
        assert "Traceback" in outcome.err
        assert outcome.err.splitlines()[-1].startswith("omni: key_file: ")


def test_a_reader_that_goes_away_is_no_error() -> None:
    writer = subprocess.Popen(
        [*OMNI, "up", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=REPO, text=True
    )
    assert writer.stdout is not None
    writer.stdout.close()
    assert writer.stderr is not None
    error = writer.stderr.read()
    writer.stderr.close()
    assert writer.wait(20) == 0, error
    assert error == ""


def test_doctor_imports_without_the_packages() -> None:
    """It has to tell what is missing, so nothing it imports at the top may need a package."""
    blocked = ["cbor2", "cryptography", "nacl", "noise", "pyroute2", "rich", "yaml"]
    code = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({blocked!r}))\n"
        "from omni_core.cli.main import main\n"
        "main(['doctor', '--json'])\n"
    )
    done = subprocess.run([sys.executable, "-B", "-c", code], cwd=REPO, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1, done.stderr
    assert "missing: cbor2, cryptography" in done.stdout
