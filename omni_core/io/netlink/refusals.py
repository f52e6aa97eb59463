"""What the kernel refuses, as SystemRefused."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from pyroute2.netlink.exceptions import NetlinkError

from omni_core.errors import SystemRefused
from omni_core.io.capability import no_capability


@contextmanager
def translated(what: str, action: str, ignore: tuple[int, ...] = ()) -> Iterator[None]:
    try:
        yield
    except (NetlinkError, OSError) as error:
        code = getattr(error, "code", None) or getattr(error, "errno", None) or 0
        if code in ignore:
            return
        if code in (errno.EPERM, errno.EACCES):
            raise no_capability(f"cannot {action} of {what}") from None
        said = error.args[1] if len(error.args) > 1 and isinstance(error.args[1], str) else str(error)
        reason = errno.errorcode.get(code, "") if said == os.strerror(code) and code in errno.errorcode else said
        raise SystemRefused(what, f"the kernel refused to {action} ({reason})", "see dmesg and `ip link`") from None
