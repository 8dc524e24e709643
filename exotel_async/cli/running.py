"""How does a command line become an exit status: run to its end, stopped, or gone wrong."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import attrs
import click

from exotel_async.errors import ExotelError, OutcomeUnknownError, mask_secrets

from .exit_status import ExitStatus, status_of
from .screen import complain
from .streams import make_sound, write_nowhere
from .wording import told
from .world import Job, World

PROGRAM = "exotel-async"

_LOOK_FIRST = (
    "Do not repeat it blindly: a phone may be ringing. "
    "Look first: exotel-async calls list --created 1h (a call is listed once it is over)"
)


def run(app: click.Command, argv: Sequence[str], *, world: World | None = None) -> int:
    """Run a command line to its end; nothing it does is left running."""
    make_sound()
    stops = _Stops()
    status = _run(app, argv, world or World(), stops)
    try:
        sys.stdout.flush()
    except OSError as error:
        write_nowhere()
        return status or _unwritten(error)
    return status


@attrs.define
class _Stops:
    """What it means when a job is cancelled."""

    status: ExitStatus = ExitStatus.INTERRUPTED


def _run(app: click.Command, argv: Sequence[str], world: World, stops: _Stops) -> int:
    try:
        job = understand(app, argv, world)
        if not isinstance(job, Job):
            return job
        if job.serves:
            stops.status = ExitStatus.FINE
        return asyncio.run(_until_done(job, stops))
    except (KeyboardInterrupt, asyncio.CancelledError, click.Abort):
        return stops.status
    except BrokenPipeError as error:
        return _unwritten(error)
    except (ExotelError, click.ClickException, OSError, OverflowError) as error:
        return explain(error)


def _unwritten(error: OSError) -> ExitStatus:
    """Tell how a command ends whose results could not be written."""
    if isinstance(error, BrokenPipeError):
        write_nowhere()
        return ExitStatus.CLOSED_PIPE
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
        complain(mask_secrets(told(error)) or type(error).__name__)
    return status_of(error)


async def _until_done(job: Job, stops: _Stops) -> int:
    """Await the job; SIGTERM stops it as Ctrl-C does: it may have something to say at its end."""
    task = asyncio.current_task()

    def stop() -> None:
        if not job.serves:
            stops.status = ExitStatus.TERMINATED
        if task is not None:
            task.cancel()

    with _at_sigterm(stop):
        return await job.run()


@contextmanager
def _at_sigterm(stop: Callable[[], None]) -> Iterator[None]:
    loop, set_up = asyncio.get_running_loop(), False
    with suppress(NotImplementedError, RuntimeError, ValueError):  # Windows; not the main thread
        loop.add_signal_handler(signal.SIGTERM, stop)
        set_up = True
    try:
        yield
    finally:
        if set_up:
            loop.remove_signal_handler(signal.SIGTERM)
