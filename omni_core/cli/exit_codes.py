"""What `omni` exits with; docs/cli.md lists them. 2, 3 and 4 are the ``exit_code`` of the errors in omni_core."""

from __future__ import annotations

OK = 0
FAILED = 1  # ran, and the answer is no: no reply to a ping, a problem found by doctor, an unexpected error
USAGE = 2  # wrong option or configuration
SYSTEM = 3  # the machine refused, or no Ganglion is running
REFUSED = 4  # the Nucleus refused the registration
TIMEOUT = 5  # what was waited for did not happen in time
INTERRUPTED = 130  # Ctrl-C, as a shell reports it
