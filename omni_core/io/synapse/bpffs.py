"""Directories in a BPF file system (bpffs), where pinned programs and maps outlive their process.

Standard library only; also used by the compiler step.
"""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path
from typing import NamedTuple

from omni_core.errors import SystemRefused
from omni_core.io.synapse import bpf_call

STANDARD = Path("/sys/fs/bpf")
DEFAULT = STANDARD / "omni"

_MAGIC = 0xCAFE4A11  # BPF_FS_MAGIC, linux/magic.h
_SOURCE = "omni_ros2"  # what /proc/self/mountinfo shows as the source of a file system that we mounted
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 2, 4, 8

_libc = ctypes.CDLL(None, use_errno=True)


class Place(NamedTuple):
    """A usable directory, the bpffs it is in, and whether it was us who mounted that (now or earlier)."""

    directory: Path
    mount_point: Path
    ours: bool


def file_name(text: str) -> str:
    """``text`` as the name of an entry: bpffs refuses dots, and VLAN interfaces have them. Unambiguous."""
    return text.replace("%", "%25").replace(".", "%2E").replace("/", "%2F")


def is_bpffs(path: Path) -> bool:
    """Whether ``path`` exists and lies in a bpffs."""
    answer = ctypes.create_string_buffer(256)  # struct statfs; its first word is f_type
    if _libc.statfs(os.fsencode(path), answer) != 0:
        return False
    return ctypes.c_ulong.from_buffer(answer).value & 0xFFFFFFFF == _MAGIC


def prepare(directory: Path = DEFAULT) -> Place:
    """Makes ``directory`` (mode 0700) in a bpffs, and mounts one where there is none.

    As bpftool does, it is mounted on /sys/fs/bpf for a directory below that, else on ``directory`` itself. A mount is
    seen in this mount namespace only, and so are the pins. SystemRefused where the kernel does not let us.
    """
    with bpf_call.translated(f"BPF file system for {directory}"):
        above = directory
        while not above.exists():
            above = above.parent
        if not is_bpffs(above):
            mount_point = STANDARD if directory.is_relative_to(STANDARD) else directory
            _make(mount_point)
            _mount(mount_point)
        _make(directory)
        directory.chmod(0o700)
    mount_point = _mount_point(directory)
    return Place(directory, mount_point, _source(mount_point) == _SOURCE)


def release(place: Place) -> bool:
    """Removes ``place.directory`` where it is empty, and unmounts the bpffs where it is ours and empty.

    Whether it was unmounted. What is in use or was never there stays as it is.
    """
    if place.directory != place.mount_point:
        try:
            place.directory.rmdir()
        except OSError:
            pass
    if not place.ours or not is_bpffs(place.mount_point) or entries(place.mount_point):
        return False
    return bool(_libc.umount2(os.fsencode(place.mount_point), 0) == 0)


def entries(directory: Path) -> list[str]:
    """Names in ``directory``, sorted; none where it does not exist. Names with a dot are the kernel's (maps.debug)."""
    try:
        return sorted(name for name in os.listdir(directory) if "." not in name)
    except FileNotFoundError:
        return []


def remove_tree(directory: Path) -> None:
    """Removes ``directory`` and all pins below; what is attached or open lives on until it is let go."""
    try:
        with os.scandir(directory) as found:
            children = list(found)
    except FileNotFoundError:
        return
    for child in children:
        if child.is_dir(follow_symlinks=False):
            remove_tree(Path(child.path))
        else:
            os.unlink(child.path)
    os.rmdir(directory)


def staging(directory: Path) -> Path:
    """Where the pins of ``directory`` are gathered before they take its name all at once."""
    return directory.with_name(directory.name + "+new")


def replace_tree(new: Path, directory: Path) -> None:
    """``new`` becomes ``directory``. Pins that were there before are removed first."""
    remove_tree(directory)
    os.rename(new, directory)


def _make(directory: Path) -> None:
    """With its parents; mkdir(parents=True) would give those the usual mode."""
    for missing in reversed([path for path in (directory, *directory.parents) if not path.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)


def _mount(mount_point: Path) -> None:
    flags = ctypes.c_ulong(_MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    if _libc.mount(_SOURCE.encode(), os.fsencode(mount_point), b"bpf", flags, b"mode=0700") != 0:
        code = ctypes.get_errno()
        if code == errno.ENODEV:
            raise OSError(errno.ENOSYS, "no bpffs in this kernel")
        if code == errno.EPERM:
            raise SystemRefused(
                f"BPF file system on {mount_point}",
                "not mounted, and mounting it needs CAP_SYS_ADMIN",
                f"as root: mount -t bpf bpf {mount_point}; or use the engine python",
            )
        raise OSError(code, f"mount -t bpf on {mount_point}: {os.strerror(code)}")


def _mount_point(path: Path) -> Path:
    path = path.resolve()
    while not os.path.ismount(path):
        path = path.parent
    return path


def _source(mount_point: Path) -> str:
    """The source of the topmost mount on ``mount_point`` (proc_pid_mountinfo(5))."""
    source = ""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        if left.split()[4] == str(mount_point).replace(" ", "\\040"):
            source = right.split()[1]
    return source
