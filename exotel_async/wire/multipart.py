"""What stands in a multipart/form-data body.

Two readers that agree wherever both understand a body: a quick one for the form that every common
HTTP library writes with the field names Exotel is known to send, and the standard library's email
parser for everything else.
"""

from __future__ import annotations

import re
from email.errors import MessageDefect
from email.message import Message
from email.parser import BytesParser

from exotel_async.errors import MalformedCallbackError

from .fields import CALLBACK_KEYS, LEG_KEYS

Pair = tuple[str, str]

_QUICK_LEGS = 8
_QUICK_HEADS = {
    f'\r\nContent-Disposition: form-data; name="{name}"'.encode(): name
    for name in (
        *CALLBACK_KEYS,
        *(f"Legs[{i}][{key}]" for i in range(_QUICK_LEGS) for key in LEG_KEYS),
    )
}
_QUICK_TYPE = re.compile(
    r'multipart/form-data; ?boundary="?([0-9A-Za-z\'()+_./:=?-]{0,69}[0-9A-Za-z])"?', re.ASCII
)
_ANY_BOUNDARY = re.compile(r'boundary=(?:"([^"]{1,200})"|([^\s";,]{1,200}))', re.IGNORECASE)
_MOST_PARAMETERS = 8  # of a header; the email parser's work grows with their square


class _Form(Message):
    """A form, whose parts are taken as they are, whatever they claim to be.

    Forms and messages inside of forms, and long content types, are nothing a callback has, and
    would cost time that grows faster than the body.
    """

    inside = False

    def attach(self, payload: _Form) -> None:  # type: ignore[override]  # the parser makes no other
        """Take in a part, before anything of it is read."""
        payload.inside = True
        super().attach(payload)

    def get_content_type(self) -> str:
        """Tell the form from its parts."""
        return "text/plain" if self.inside else "multipart/form-data"


def read_form(body: bytes, *, content_type: str, most: int) -> list[Pair]:
    """Read a form into names and texts; raise MalformedCallbackError where it is none."""
    pairs = read_quickly(body, content_type=content_type)
    return pairs if pairs is not None else read_with_email(body, content_type, most=most)


def read_quickly(body: bytes, *, content_type: str) -> list[Pair] | None:
    """Read the plain form with known names; None for anything else, however slight."""
    match = _QUICK_TYPE.fullmatch(content_type)
    if match is None:
        return None
    boundary = b"--" + match[1].encode()
    pieces = (b"\r\n" + body).split(b"\r\n" + boundary)
    # A boundary that is no delimiter of ours might be one for the other reader.
    if len(pieces) < 3 or body.count(boundary) != len(pieces) - 1:
        return None
    before, *parts, after = pieces
    if before or after not in (b"--", b"--\r\n"):
        return None
    pairs = []
    for part in parts:
        head, separator, value = part.partition(b"\r\n\r\n")
        name = _QUICK_HEADS.get(head)
        if name is None or not separator:
            return None
        pairs.append((name, value.decode("utf-8", "replace")))
    return pairs


def read_with_email(body: bytes, content_type: str, *, most: int) -> list[Pair]:
    """Read any form, with the standard library's parser."""
    boundary = _find_boundary(body, content_type)
    _check_boundaries(body, boundary, most=most)
    head = b'Content-Type: multipart/form-data; boundary="' + boundary + b'"\r\n\r\n'
    message = BytesParser(_Form).parsebytes(head + body)
    parts = message.get_payload()
    if not isinstance(parts, list) or message.defects:
        raise MalformedCallbackError(f"a broken multipart body{_first(message.defects)}")
    return [_read_part(part) for part in parts if isinstance(part, Message)]


def _find_boundary(body: bytes, content_type: str) -> bytes:
    """Take the boundary the content type names, or, where that is not in use, the first line's."""
    match = _ANY_BOUNDARY.search(content_type)
    named = (match[1] or match[2]).encode("utf-8", "replace") if match else b""
    if named and b"--" + named in body:
        return named
    line = body.lstrip().partition(b"\n")[0].rstrip()
    if not line.startswith(b"--") or not 2 < len(line) <= 200 or b'"' in line or b"\\" in line:
        raise MalformedCallbackError("a multipart body without a boundary")
    return line[2:]


def _check_boundaries(body: bytes, boundary: bytes, *, most: int) -> None:
    """Refuse what readers could take apart in more than one way."""
    found = body.count(b"--" + boundary)
    if found > most + 1:
        raise MalformedCallbackError(f"more than {most} fields")
    end = b"\r\n" if b"\r\n" in body else b"\n"
    line = end + b"--" + re.escape(boundary) + rb"(?:--)?[ \t]*(?=\Z|" + end + b")"
    if len(re.findall(line, end + body)) != found:
        raise MalformedCallbackError("a multipart body with its boundary amid a line")


def _read_part(part: Message) -> Pair:
    heads = [value for key, value in part.raw_items() if key.lower() == "content-disposition"]
    name = _find_name(heads[0]) if len(heads) == 1 and not part.defects else None
    if name is None or '"' in name:
        raise MalformedCallbackError("a multipart body with a part that has no one name")
    try:
        payload = part.get_payload(decode=True)
    except ValueError as error:  # broken uuencode
        raise MalformedCallbackError("a multipart body with a part that can't be read") from error
    return name, _as_text(payload if isinstance(payload, bytes) else b"")


def _find_name(disposition: str) -> str | None:
    if disposition.count(";") > _MOST_PARAMETERS:
        return None
    head = Message()  # the part's own would show names beyond ASCII as nothing but question marks
    head["Content-Disposition"] = _as_text(disposition.encode("ascii", "surrogateescape"))
    params = head.get_params([], header="content-disposition")
    if [key.lower() for key, _ in params].count("name") != 1:
        return None
    name = head.get_param("name", header="content-disposition")
    if isinstance(name, tuple):  # RFC 2231: charset, language, bytes spelt as Latin-1
        name = _as_text(name[2].encode("latin-1", "replace"))
    return name


def _as_text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _first(defects: list[MessageDefect]) -> str:
    return f" ({type(defects[0]).__name__})" if defects else ""
