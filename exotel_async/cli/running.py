"""How does a command line become an exit status: run to its end, stopped, or gone wrong."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import click

from exotel_async.errors import ExotelError, OutcomeUnknownError, mask_secrets

from .exit_status import ExitStatus, status_of
from .screen import complain
from .world import Job, World

PROGRAM = "exotel-async"

_LOOK_FIRST = (
    "Do not repeat it blindly: a phone may be ringing. "
    "Look first: exotel-async calls list --created 1h (a call is listed once it is over)"
)


def run(app: click.Command, argv: Sequence[str], *, world: World | None = None) -> int:
    """Run a command line to its end; nothing it does is left running."""
    _never_fail_to_write()
    status = _run(app, argv, world or World())
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return _closed_pipe()
    return status


def _run(app: click.Command, argv: Sequence[str], world: World) -> int:
    stopped = ExitStatus.INTERRUPTED
    try:
        job = understand(app, argv, world)
        if not isinstance(job, Job):
            return job
        stopped = ExitStatus.FINE if job.serves else stopped
        return asyncio.run(_until_done(job))
    except (KeyboardInterrupt, asyncio.CancelledError, click.Abort):
        return stopped
    except BrokenPipeError:
        return _closed_pipe()
    except (ExotelError, click.ClickException, OSError, OverflowError) as error:
        return explain(error)


async def execute(app: click.Command, argv: Sequence[str], *, world: World) -> int:
    """Run a command line inside a running event loop, as the demo does."""
    try:
        job = understand(app, argv, world)
        return await job.run() if isinstance(job, Job) else job
    except BrokenPipeError:
        raise
    except (ExotelError, click.ClickException, OSError, OverflowError) as error:
        return explain(error)


def understand(app: click.Command, argv: Sequence[str], world: World) -> Job | int:
    """Read the words and ask what is to be asked: what is to be done, or the end already."""
    result = app.main(
        args=list(argv) or ["--help"], prog_name=PROGRAM, standalone_mode=False, obj=world
    )
    return result if isinstance(result, Job) else int(result or 0)


def explain(error: BaseException) -> ExitStatus:
    """Say what went wrong and what to do, and how the command ends."""
    if isinstance(error, click.ClickException):
        where = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else ""
        complain(mask_secrets(error.format_message()), f"See {where} --help" if where else "")
        return ExitStatus.USAGE if isinstance(error, click.UsageError) else ExitStatus.FAILED
    if isinstance(error, OutcomeUnknownError):
        complain(str(error), _LOOK_FIRST)
    else:
        complain(mask_secrets(str(error)) or type(error).__name__)
    return status_of(error)


async def _until_done(job: Job) -> int:
    """Await the job; SIGTERM stops what serves as Ctrl-C does."""
    with _stopped_by_sigterm(asyncio.current_task() if job.serves else None):
        return await job.run()


@contextmanager
def _stopped_by_sigterm(task: asyncio.Task[object] | None) -> Iterator[None]:
    loop, set_up = asyncio.get_running_loop(), False
    with suppress(NotImplementedError, RuntimeError, ValueError):  # Windows; not the main thread
        if task is not None:
            loop.add_signal_handler(signal.SIGTERM, task.cancel)
            set_up = True
    try:
        yield
    finally:
        if set_up:
            loop.remove_signal_handler(signal.SIGTERM)


def _never_fail_to_write() -> None:
    """Have odd characters replaced where the terminal's encoding can't spell them."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _closed_pipe() -> ExitStatus:
    """Write nowhere from now on, so that Python has nothing left to complain of at its end."""
    with suppress(OSError, ValueError, AttributeError):
        output, nowhere = sys.stdout.fileno(), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, output)
        os.close(nowhere)
    return ExitStatus.CLOSED_PIPE
