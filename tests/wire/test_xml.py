"""XML as the same objects that JSON gives."""

from __future__ import annotations

import codecs
from encodings.aliases import aliases

import pytest
from campaign import examples
from hypothesis import given
from hypothesis import strategies as st
from samples import sample

from exotel_async.wire.xml import read_xml


def response(inner: str) -> bytes:
    return f"<TwilioResponse>{inner}</TwilioResponse>".encode()


class TestReadXml:
    def test_object(self):
        """An element with children is an object, any other its text."""
        tree = read_xml(response("<Call> <Sid>a</Sid> <To/> <From></From> </Call>"))

        assert tree == {"Call": {"Sid": "a", "To": "", "From": ""}}

    def test_several(self):
        """An element that occurs several times is a list."""
        tree = read_xml(response("<Call>1</Call><Other/><Call>2</Call><Call>3</Call>"))

        assert tree == {"Call": ["1", "2", "3"], "Other": ""}

    def test_entities(self):
        """The five entities and numeric ones are text."""
        assert read_xml(response("<A>&lt;&amp;&#xe9;<!-- no --></A>")) == {"A": "<&é"}

    def test_sample(self):
        """The page's sample with legs has the shape of its JSON twin."""
        details = read_xml(sample("call_details_legs.xml"))["Call"]["Details"]

        assert [leg["Id"] for leg in details["Legs"]["Leg"]] == ["1", "2"]

    @pytest.mark.parametrize(
        "doctype",
        [
            "<!DOCTYPE x>",
            '<!DOCTYPE x SYSTEM "file:///etc/passwd">',
            '<!DOCTYPE x [<!ENTITY a "b">]>',
            '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
        ],
    )
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
    def test_doctype(self, doctype, encoding):
        """A DOCTYPE is refused, in any encoding."""
        with pytest.raises(ValueError, match="DOCTYPE"):
            read_xml((doctype + "<TwilioResponse><A/></TwilioResponse>").encode(encoding))

    def test_billion_laughs(self):
        """A bomb of entities is refused before it goes off."""
        entities = '<!ENTITY a0 "ha">' + "".join(
            f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 30)
        )

        with pytest.raises(ValueError, match="DOCTYPE"):
            read_xml(f"<!DOCTYPE x [{entities}]><TwilioResponse>&a29;</TwilioResponse>".encode())

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"<",
            b"x",
            b"<TwilioResponse>",
            b"<TwilioResponse/>",
            b"<TwilioResponse>text</TwilioResponse>",
            b"<Other><A/></Other>",
            b"<twilioresponse><A/></twilioresponse>",
            b'<TwilioResponse xmlns="urn:x"><A/></TwilioResponse>',
            response("<A>&unknown;</A>"),
            response("<A>\x00</A>"),
            response("<A/>") * 2,
        ],
    )
    def test_refused(self, body):
        """What is no answer is refused with a ValueError."""
        with pytest.raises(ValueError):
            read_xml(body)

    @pytest.mark.parametrize("deep", [17, 100_000])
    def test_deep(self, deep):
        """Deep nesting is refused before it hurts."""
        with pytest.raises(ValueError, match="too deep"):
            read_xml(response("<a>" * deep + "</a>" * deep))

    def test_not_too_deep(self):
        """What Exotel nests is far from the bound."""
        assert read_xml(response("<a>" * 16 + "</a>" * 16))

    @pytest.mark.parametrize("encoding", sorted({*aliases.values(), "unheard-of", "utf-8-sig"}))
    def test_encodings(self, encoding):
        """Any declared encoding is read, or refused with a ValueError."""
        head = f'<?xml version="1.0" encoding="{encoding}"?>'.encode()
        try:
            tree = read_xml(head + response("<A>b</A>"))
        except ValueError:
            return

        assert tree == {"A": "b"}

    def test_latin(self):
        """A declared encoding that is known is used."""
        head = b'<?xml version="1.0" encoding="iso-8859-1"?>'

        assert read_xml(head + response("<A>\u00e9</A>").decode().encode("latin-1")) == {"A": "é"}

    def test_byte_order_mark(self):
        """A byte order mark does no harm."""
        assert read_xml(codecs.BOM_UTF8 + response("<A>b</A>")) == {"A": "b"}

    @examples(200)
    @given(st.binary(max_size=80) | st.text("<>/&;!-[]?aA ='\"\0\ud800é", max_size=60))
    def test_anything(self, noise):
        """Whatever comes is a tree or refused with a ValueError."""
        noise = noise if isinstance(noise, bytes) else noise.encode("utf-8", "surrogatepass")
        try:
            tree = read_xml(b"<TwilioResponse>" + noise + b"</TwilioResponse>")
        except ValueError:
            return

        assert isinstance(tree, dict)
