"""How is an error of ours told to who typed a command line: by what they typed, not by Python."""

from __future__ import annotations

import re

from exotel_async.errors import ConfigurationError, InvalidRequestError

_VARIABLES = {
    "account_sid": "EXOTEL_ACCOUNT_SID",
    "api_key": "EXOTEL_API_KEY",
    "api_token": "EXOTEL_API_TOKEN",
    "base_url": "EXOTEL_SUBDOMAIN",
}
_WORDS = {
    "from_": "From",
    "to": "To",
    "sid": "the Sid",
    "number": "a number",
    "sids": "--sid",
    "statuses": "--status",
    "directions": "--direction",
    "phone_numbers": "--phone-number",
    "status_callback_events": "--status-callback-event",
    "flow_id": "--flow",
    "url": "--flow-url",
    "created_after": "--created",
    "created_before": "--created",
}
_NAME = re.compile(r"([a-z][a-z_]*)(?:\.at_least|\.at_most)?(?= (?:must|may|is)\b| \()")
_CLEAR_TEXT = re.compile(r"names (\S+) with http: ")


def told(error: BaseException) -> str:
    """Spell an error, with its setting or argument under the name that the user knows.

    >>> told(InvalidRequestError("time_limit must be a whole number"))
    '--time-limit must be a whole number'
    """
    text = str(error)
    match = _NAME.match(text)
    if match is None or not isinstance(error, ConfigurationError | InvalidRequestError):
        return text
    name, rest = match[1], text[match.end() :]
    if isinstance(error, InvalidRequestError):
        return _WORDS.get(name, "--" + name.replace("_", "-")) + rest
    if found := _CLEAR_TEXT.search(text):
        return (
            f"EXOTEL_SUBDOMAIN names {found[1]} with http://, and the credentials would travel "
            "in the clear: write the host alone"
        )
    return _VARIABLES.get(name, name) + rest
