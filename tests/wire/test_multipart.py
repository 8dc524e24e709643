"""Two readers of multipart bodies, and what others read in the same."""

from __future__ import annotations

import binascii
import random
from email.message import Message

import pytest
from campaign import examples
from hypothesis import given
from hypothesis import strategies as st
from mutants import BOUNDARY, ask_aiohttp, ask_multipart, in_agreement, mutate
from samples import form_sample, multipart

from exotel_async import MalformedCallbackError
from exotel_async.wire.multipart import _Form, read_form, read_quickly, read_with_email

CLAIM = f"multipart/form-data; boundary={BOUNDARY}"
SAMPLE = form_sample("statuscallback_terminal.form.txt")
SMALL = [("CallSid", "abc"), ("CustomField", "x\r\ny é"), ("Legs[0][Status]", ""), ("Odd", "1")]
HEADS = (
    'Content-Disposition: form-data; name="{}"\r\n',
    'Content-Disposition: form-data; name="{}"\r\n',
    'Content-Type: text/plain; charset=utf-8\r\nContent-Disposition: form-data; name="{}"\r\n',
    'content-disposition: form-data; name="{}"\r\nContent-Length: 3\r\n',
)


def spell(pairs, head=HEADS[0]) -> bytes:
    parts = [f"--{BOUNDARY}\r\n{head.format(name)}\r\n{value}\r\n" for name, value in pairs]
    return f"{''.join(parts)}--{BOUNDARY}--\r\n".encode()


def part(*lines: str | bytes) -> bytes:
    """Spell a form of a CallSid and one more part, whose lines are given."""
    extra = b"\r\n".join(line.encode() if isinstance(line, str) else line for line in lines)
    end = f"--{BOUNDARY}"
    return (
        spell([("CallSid", "a1")])[: -len(end) - 4]
        + f"{end}\r\n".encode()
        + extra
        + (f"\r\n{end}--\r\n".encode())
    )


def read_slowly(body: bytes, content_type: str = CLAIM):
    return read_with_email(body, content_type, most=512)


def check_agreement(body: bytes) -> tuple[bool, bool]:
    """Assert that all who understand a body agree; tell whether our two readers did."""
    quick = read_quickly(body, content_type=CLAIM)
    try:
        slow = read_slowly(body)
    except MalformedCallbackError:
        slow = None
    others = ask_multipart(body, BOUNDARY), ask_aiohttp(body, CLAIM)
    if quick is not None:
        assert slow == quick
        assert others == (quick, quick)  # to the letter: what we read quickly, all understand
    elif slow is not None:
        for other in others:
            assert in_agreement(slow, other, body), other
    return quick is not None, slow is not None


class TestAgreement:
    @given(
        pairs=st.sampled_from([SMALL[:1], SMALL[:2], SMALL[:3], SMALL, SAMPLE]),
        head=st.sampled_from(HEADS),
        mutations=st.lists(
            st.tuples(*[st.integers(0, 2**30)] * 3), min_size=1, max_size=4
        ),
    )  # fmt: skip
    @examples(600)
    def test_found_by_hypothesis(self, pairs, head, mutations):
        """Whatever is done to a body, all who understand it read the same."""
        check_agreement(mutate(spell(pairs, head), mutations))

    def test_at_random(self):
        """The same on evenly drawn damage, much of which leaves a body readable."""
        draw = random.Random(20261102)
        read = [0, 0]
        for _ in range(1_500):
            pairs = draw.choice([SMALL[:1], SMALL[:2], SMALL[:3], SMALL, SAMPLE])
            mutations = [
                tuple(draw.getrandbits(30) for _ in range(3))
                for _ in range(draw.choice([1, 1, 2, 4]))
            ]
            quickly, slowly = check_agreement(mutate(spell(pairs, draw.choice(HEADS)), mutations))
            read[0] += quickly
            read[1] += slowly

        assert read[0] > 50
        assert read[1] > 300

    @given(
        pairs=st.lists(
            st.tuples(
                st.sampled_from([name for name, _ in SAMPLE] + ["Legs[7][Status]", "CustomField"]),
                st.one_of(
                    st.text(st.characters(exclude_categories=["Cs"])),
                    st.text(st.sampled_from('\r\n- \t=:;"ü☎\0\x0b\x1c\x85\u2028'), max_size=20),
                ),
            ),
            min_size=1,
            max_size=8,
        ),
        boundary=st.from_regex(r"\A[A-Za-z'()+_./:=?-]{0,40}[A-Z]{4}\Z"),
    )
    @examples(200)
    def test_well_formed(self, pairs, boundary):
        """A well-formed body with known names is read quickly, and just so by the email parser."""
        body, content_type = multipart(pairs, boundary=boundary)

        assert read_quickly(body, content_type=content_type) == pairs
        assert read_slowly(body, content_type) == pairs

    def test_leaves_values_alone(self):
        """White space, lone line ends and broken UTF-8 in a value stay what they are."""
        for value in (b" x\t", b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"a\x00b", b"\x0b\x0c\x1c\x85"):
            body = spell([("CallSid", "VALUE")]).replace(b"VALUE", value)
            expected = [("CallSid", value.decode("utf-8", "replace"))]

            assert read_quickly(body, content_type=CLAIM) == expected
            assert read_slowly(body) == expected


class TestReadQuickly:
    @pytest.mark.parametrize(
        "claim",
        [
            "multipart/form-data; boundary=b0undary",
            "multipart/form-data;boundary=b0undary",
            'multipart/form-data; boundary="b0undary"',
        ],
    )
    def test_common_claims(self, claim):
        """The common spellings of the content type are read quickly."""
        assert read_quickly(spell(SAMPLE), content_type=claim) == SAMPLE

    @pytest.mark.parametrize(
        "claim",
        [
            "",
            "multipart/form-data",
            "multipart/mixed; boundary=b0undary",
            "Multipart/Form-Data; boundary=b0undary",
            "multipart/form-data; charset=utf-8; boundary=b0undary",
            "multipart/form-data; boundary=b0undary; charset=utf-8",
            "multipart/form-data; boundary=b0undary,x",
            "multipart/form-data; boundary=b0undary\n",
            "multipart/form-data; boundary=other",
            "multipart/form-data; boundary=",
            f"multipart/form-data; boundary={'b' * 71}",
        ],
    )
    def test_other_claims(self, claim):
        """Any other is left to the email parser."""
        assert read_quickly(spell(SAMPLE), content_type=claim) is None

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"hello",
            b"--b0undary--\r\n",
            b"--b0undary\r\n--b0undary--\r\n",
            b"\r\n" + spell(SMALL[:2]),
            spell(SMALL[:2]) + b"\r\n",
            spell(SMALL[:2])[:-4],
            spell(SMALL),
            spell(SMALL[:2]).replace(b"\r\n", b"\n"),
            spell([("Legs[8][Status]", "x")]),
            spell([("callsid", "x")]),
            spell([("CallSid", "x--b0undary")]),
            spell([("CallSid", "x\n--b0undary\n")]),
            spell(SMALL[:2], HEADS[2]),
            spell(SMALL[:2], HEADS[3]),
        ],
    )
    def test_anything_odd(self, body):
        """Anything out of the ordinary is left to the email parser."""
        assert read_quickly(body, content_type=CLAIM) is None

    def test_commas_in_boundaries(self):
        """A boundary with a comma has to be quoted: the other reader would end it there."""
        body, claim = multipart(SAMPLE, boundary="a,b")

        assert read_quickly(body, content_type=claim) is None
        assert read_slowly(body, 'multipart/form-data; boundary="a,b"') == SAMPLE

    def test_empty_claim_of_a_body_without_boundary(self):
        """A body in which the boundary never stands is no reason to stumble."""
        with pytest.raises(MalformedCallbackError):
            read_form(b"CallSid=a1", content_type="multipart/form-data; boundary=b", most=512)


class TestReadWithEmail:
    @pytest.mark.parametrize(
        "claim",
        [
            CLAIM,
            "multipart/form-data",
            "multipart/form-data; boundary=wrong",
            "multipart/form-data; boundary",
            'multipart/form-data; boundary="',
            'MULTIPART/form-data; charset=x; BOUNDARY="b0undary"',
            "application/json",
        ],
    )
    def test_finds_the_boundary(self, claim):
        """The boundary is the one in use, where the content type names none or another."""
        assert read_slowly(spell(SMALL), claim) == SMALL

    def test_bare_line_feeds(self):
        """A body whose lines all end in LF is read."""
        body = spell([("CallSid", "a1"), ("Odd", "2")]).replace(b"\r\n", b"\n")

        assert read_slowly(body) == [("CallSid", "a1"), ("Odd", "2")]

    def test_around(self):
        """Words before and after the form, and blanks after boundaries, do not matter."""
        body = b"before\r\n" + spell(SMALL).replace(b"dary\r\n", b"dary \t\r\n") + b"after"

        assert read_slowly(body) == SMALL

    @pytest.mark.parametrize(
        ("disposition", "name"),
        [
            ('form-data; name="Füld ☎"', "Füld ☎"),
            ("form-data; name=Odd", "Odd"),
            ("form-data; NAME=Odd", "Odd"),
            ('form-data; name="Odd"; filename="a;b.txt"', "Odd"),
            ('form-data; filename="; name=x"; name="Odd"', "Odd"),
            ("form-data; name*=utf-8''F%C3%BCld", "Füld"),
            ("form-data; name*0=Od; name*1=d", "Odd"),
            ('form-data; name="a%22b%"', "a%22b%"),
            ('form-data;\r\n name="Odd"', "Odd"),
            ('form-data; name=""', ""),
        ],
    )
    def test_names(self, disposition, name):
        """Names are found in all spellings of the header."""
        body = part(f"Content-Disposition: {disposition}", "", "1")

        assert read_slowly(body) == [("CallSid", "a1"), (name, "1")]

    @pytest.mark.parametrize(
        "lines",
        [
            ["Content-Type: text/plain", "", "1"],
            ["Content-Disposition: form-data", "", "1"],
            ['Content-Disposition: form-data; name="x"; name="y"', "", "1"],
            ['Content-Disposition: form-data; name="x"'] * 2 + ["", "1"],
            ['Content-Disposition: form-data; name="x"y', "", "1"],
            ['Content-Disposition: form-data; name="x"' + "; a=1" * 9, "", "1"],
            ['Content-Disposition: form-data; name="x"', "no header", "", "1"],
            ["", 'Content-Disposition: form-data; name="x"', "1"],
            ["1"],
        ],
    )
    def test_no_one_name(self, lines):
        """A part that has no name, or not just one, is refused."""
        with pytest.raises(MalformedCallbackError, match="no one name"):
            read_slowly(part(*lines))

    @pytest.mark.parametrize(
        ("encoding", "spelt", "value"),
        [
            ("base64", "w7w=", "ü"),
            ("quoted-printable", "=C3=BC=\r\nx", "üx"),
            ("8bit", "ü=C3", "ü=C3"),
            ("BASE64", "eA==", "x"),
            ("nonsense", "w7w=", "w7w="),
        ],
    )
    def test_transfer_encodings(self, encoding, spelt, value):
        """The transfer encodings of mail are undone."""
        head = 'Content-Disposition: form-data; name="x"'

        pairs = read_slowly(part(head, f"Content-Transfer-Encoding: {encoding}", "", spelt))

        assert pairs[1] == ("x", value)

    @pytest.mark.parametrize("kind", ["multipart/mixed; boundary=i", "message/rfc822", "text/html"])
    def test_forms_in_forms(self, kind):
        """A part is its text, even if it claims to be a form or a message."""
        inner = "--i\r\nX: y\r\n\r\nz\r\n--i--"
        head = 'Content-Disposition: form-data; name="x"'

        pairs = read_slowly(part(head, f"Content-Type: {kind}", "", inner))

        assert pairs == [("CallSid", "a1"), ("x", inner)]

    @pytest.mark.parametrize(
        "body",
        [
            spell([("CallSid", "x\r\n--b0undary-and-more")]),
            spell([("CallSid", "x --b0undary")]),
            spell([("CallSid", "x\n--b0undary\nContent-Disposition: form-data; name=y\n\nz")]),
            spell([("CallSid", "x\r--b0undary\rContent-Disposition: form-data; name=y\r\rz")]),
        ],
    )
    def test_ambiguous_boundaries(self, body):
        """A boundary where another reader might see none, or one more, is refused."""
        with pytest.raises(MalformedCallbackError, match="amid a line"):
            read_slowly(body)

    @pytest.mark.parametrize("cut", [1, 12, 13, 20, 60, 100])
    def test_cut_short(self, cut):
        """A body that was cut short is refused."""
        body = spell(SMALL).rstrip()

        with pytest.raises(MalformedCallbackError):
            read_slowly(body[:-cut])

    def test_unreadable_part(self, monkeypatch):
        """A part that the standard library can't decode is refused; older ones fail at uuencode."""

        def fail(self, *args, **kwargs):
            raise binascii.Error("illegal char")

        body = spell([("CallSid", "x")], HEADS[2])
        monkeypatch.setattr(
            _Form,
            "get_payload",
            lambda self, decode=False: fail(self) if decode else Message.get_payload(self),
        )

        with pytest.raises(MalformedCallbackError, match="can't be read"):
            read_slowly(body)

    def test_uuencode(self):
        """Broken uuencode is refused or taken as it is, and nothing else happens."""
        draw = random.Random(5)
        head = 'Content-Disposition: form-data; name="x"'
        for _ in range(200):
            junk = b"begin 644 f\n" + bytes(draw.choices(b"MM!#\x80\xff`\n \x01", k=60))
            body = part(head, "Content-Transfer-Encoding: x-uuencode", "", junk)
            try:
                read_slowly(body)
            except MalformedCallbackError:
                continue


class TestLimits:
    def test_parts(self):
        """More parts than fields are allowed are refused before any is read."""
        with pytest.raises(MalformedCallbackError, match="more than 512 fields"):
            read_slowly(spell([("x", "")] * 513))
        assert len(read_slowly(spell([("x", "")] * 512))) == 512

    @pytest.mark.parametrize(
        "deep",
        [
            b"Content-Type: message/rfc822\r\n\r\n" * 1_900,
            b"".join(
                b"Content-Type: multipart/x; boundary=%d\r\n\r\n--%d\r\n" % (i, i)
                for i in range(1_200)
            ),
        ],
    )
    def test_nesting(self, deep):
        """Messages within messages, a thousand deep, are text."""
        pairs = read_slowly(part('Content-Disposition: form-data; name="x"', deep))

        assert [name for name, _ in pairs] == ["CallSid", "x"]

    @pytest.mark.parametrize("header", ["Content-Type: multipart/x", "Content-Disposition: x"])
    @pytest.mark.parametrize("fill", [";", '";', '\\";', "; a=1", "; a*0=b", "; a*1*=%aa"])
    def test_parameters(self, header, fill, monkeypatch):
        """Headers of very many parameters are not parsed: that takes the square of their length."""
        from email import message

        def refuse(text):
            assert len(text) < 200, "parsed"
            return parse(text)

        parse = message._parseparam
        monkeypatch.setattr(message, "_parseparam", refuse)
        name = 'Content-Disposition: form-data; name="x"'
        lines = [name, header + fill * 10_000] if "Type" in header else [header + fill * 10_000]

        try:
            pairs = read_slowly(part(*lines, "", "1"))
        except MalformedCallbackError:
            assert "Disposition" in header
        else:
            assert pairs[1] == ("x", "1")

    def test_huge_header(self):
        """One huge header, or very many, are harmless."""
        name = 'Content-Disposition: form-data; name="x"'

        assert read_slowly(part(name, "A: " + "b" * 60_000, "", "1"))[1] == ("x", "1")
        assert read_slowly(part(*["A:"] * 15_000, name, "", "1"))[1] == ("x", "1")
        assert read_slowly(part("A:", *[" b"] * 15_000, name, "", "1"))[1] == ("x", "1")
