"""Where the pins of one overlay interface are: <bpf_dir>/<interface>@<inode of the network namespace>."""

from __future__ import annotations

import os
from pathlib import Path

from omni_core.io.synapse import bpf_call, bpffs


def pin_directory(bpf_dir: str, interface: str) -> Path:
    """The same name in two network namespaces of one machine is two directories."""
    inode = os.stat("/proc/thread-self/ns/net").st_ino
    return Path(bpf_dir, f"{bpffs.file_name(interface)}@{inode}")


def remove_pins(directory: str) -> None:
    """With the directory, its parent where that is empty, and the bpffs where it was mounted for us. Idempotent.

    Raises SystemRefused.
    """
    path = Path(directory)
    with bpf_call.translated(f"BPF pins in {directory}"):
        bpffs.remove_tree(bpffs.staging(path))
        bpffs.remove_tree(path)
    above = path.parent
    if bpffs.is_bpffs(above) or (bpffs.is_bpffs(bpffs.STANDARD) and above.is_relative_to(bpffs.STANDARD)):
        bpffs.release(bpffs.prepare(above))
