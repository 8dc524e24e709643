"""The command line, `exotel-async …`: parsing, asking and showing; all else is done elsewhere.

exit_status  how a command ended, as a number
ranges       what "yesterday" and "10..45" mean
plain        our values as JSON has them
wording      our errors by the names that users know
rows         our values as lines and cells
diagnosis    what the doctor makes of what it found
saved        a callback as one line of a file
world        what a command meets outside: environment, time, who looks on
streams      the standard streams, when they are closed or full
screen       standard output and standard error
asking       the question before phones ring
options      what all commands have in common
running      a command line from its words to its exit status
receiving    one callback for `listen` and the demo: read, forward, keep, show, answer
surviving    the demo's second act: what is lost, and known all the same
receiver_process  the receiver that is killed in it
journals     which journal is meant: a SQLite file, or PostgreSQL
urls         URLs that are typed, and that are shown
until        how what serves waits for its end
app          all commands
…            each command in a module of its own name
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

__all__ = ["main"]

_NEEDED = frozenset({"click", "rich"})


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit status; `argv` is that of the process by default."""
    try:
        with _ended_by_interrupt():
            from .app import app  # only here: whoever imports us need not have the extra
            from .running import run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _NEEDED:
            raise
        needs = "the command line needs its extra, [cli]: pip install click rich"
        print(f"exotel-async: {needs}", file=sys.stderr)  # noqa: T201
        return 1
    return run(app, sys.argv[1:] if argv is None else argv)


@contextmanager
def _ended_by_interrupt() -> Iterator[None]:
    """Have Ctrl-C end the process: a KeyboardInterrupt amid imports may be swallowed."""
    before = signal.getsignal(signal.SIGINT)
    ours = threading.current_thread() is threading.main_thread()
    if not ours or before is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
