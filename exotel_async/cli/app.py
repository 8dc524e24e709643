"""Which commands are there."""

from __future__ import annotations

import click

import exotel_async

from .call import call
from .calls import calls
from .deadletters import deadletters
from .demo import demo
from .doctor import doctor
from .exit_status import explained
from .export import export
from .journal import journal
from .listen import listen
from .number import number
from .options import CONTEXT, common
from .report import report
from .simulate import simulate
from .trigger import trigger

_EPILOG = f"""
Credentials come from the environment only: EXOTEL_ACCOUNT_SID, EXOTEL_API_KEY, EXOTEL_API_TOKEN
and EXOTEL_SUBDOMAIN (api.exotel.com or api.in.exotel.com). Phone numbers, the account's Sid and
tokens in URLs are masked unless --show-numbers is given; errors are masked always.

{explained()}
"""


@click.group(context_settings=CONTEXT, epilog=_EPILOG)
@click.version_option(exotel_async.__version__, prog_name="exotel-async")
@common
def app(**_: object) -> None:
    """Place calls by Exotel, read their records, be told how they go, and test without it."""


_COMMANDS = (
    call, calls, number, listen, trigger, doctor, journal, deadletters, simulate, demo
)  # fmt: skip
for _command in _COMMANDS:
    app.add_command(_command)
calls.add_command(report)
calls.add_command(export)
