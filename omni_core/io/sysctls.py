"""Kernel settings for DDS (omni_core/dds/settings.py): set while a Ganglion is configured, restored afterwards.

A setting is machine-wide (or of the network namespace), and several Ganglia may want it. The rules:

- What is good already stays, and is not ours to restore.
- The journal names each change before it is made: what it was, what it became. So a killed Ganglion's is undone too.
- A Ganglion that finds a value which another journal beside its own names as a change writes the same into its own.
  On restore a value that another journal names stays; the last one of them restores what was at the very first.
- A value that is no longer what we set belongs to whoever set it.

Ganglia of one machine see each other's journals when they share ``run_dir``, as they do by default. What cannot be set
(read-only /proc/sys of a container, a setting that a network namespace does not have) is a log line, nothing more.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import logging
import os
from collections.abc import Iterator, Sequence

from omni_core.dds.settings import SETTINGS, Setting
from omni_core.io.journal import ChangedSetting, Journal

logger = logging.getLogger(__name__)


def apply_settings(journal: Journal, settings: Sequence[Setting] = SETTINGS, root: str = "/") -> None:
    """Idempotent. Raises ConfigError("run_dir") when the journal cannot be written; then nothing was changed."""
    with _one_at_a_time(journal.path):
        for setting in settings:
            if setting.key not in {step.key for step in _changes(journal.steps)}:
                _apply(setting, journal, root)


def restore_setting(step: ChangedSetting, journal: Journal, root: str = "/") -> None:
    """What ``step`` says, unless somebody else has changed it or wants it too. Takes the step out of the journal."""
    path = os.path.join(root, f"proc/sys/{step.key.replace('.', '/')}")
    with _one_at_a_time(journal.path):
        if _read(path) == step.now and _named_by_others(step.key, step.now, journal.path) is None:
            try:
                _write(path, step.was)
            except OSError as error:
                logger.info("%s stays %d: %s", step.key, step.now, error.strerror)
            else:
                logger.info("%s: %d again", step.key, step.was)
        # Inside the lock: two that stop at the same time must not each leave it to the other.
        journal.replace([other for other in journal.steps if other != step])


def _apply(setting: Setting, journal: Journal, root: str) -> None:
    path = os.path.join(root, setting.path.lstrip("/"))
    value = _read(path)
    if value is None:
        logger.debug("%s is not there in this network namespace", setting.key)
        return
    if setting.is_good(value):
        named = _named_by_others(setting.key, value, journal.path)
        if named is not None:
            journal.add(named)
        return
    if not os.access(path, os.W_OK):
        logger.info("%s stays %d, it is read-only here: %s", setting.key, value, setting.why)
        return
    step = ChangedSetting(setting.key, value, setting.wanted)
    journal.add(step)
    refusal = ""
    try:
        _write(path, setting.wanted)
    except OSError as error:
        refusal = str(error.strerror)
    if _read(path) == setting.wanted:
        logger.info("%s: %d, was %d", setting.key, setting.wanted, value)
        return
    journal.replace([other for other in journal.steps if other != step])
    # Some settings take what is out of their range without an error, and ignore it (proc_doulongvec_minmax()).
    logger.info("%s stays %d (%s): %s", setting.key, value, refusal or "out of its range here", setting.why)


def _named_by_others(key: str, value: int, journal_path: str) -> ChangedSetting | None:
    """The change that made ``key`` what it is, in another journal of this boot and network namespace."""
    directory = os.path.dirname(os.path.abspath(journal_path))
    for path in sorted(glob.glob(os.path.join(glob.escape(directory), "*.json"))):
        if os.path.basename(path) != os.path.basename(journal_path):
            for step in _changes(Journal(path).load()):
                if (step.key, step.now) == (key, value):
                    return step
    return None


def _changes(steps: Sequence[object]) -> list[ChangedSetting]:
    return [step for step in steps if isinstance(step, ChangedSetting)]


def _read(path: str) -> int | None:
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def _write(path: str, value: int) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(f"{value}\n")


@contextlib.contextmanager
def _one_at_a_time(journal_path: str) -> Iterator[None]:
    """Between Ganglia that share the directory: nobody reads a value between another's journal and its change."""
    directory = os.open(os.path.dirname(os.path.abspath(journal_path)), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)
