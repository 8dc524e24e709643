"""How a number is looked up."""

from __future__ import annotations

import pytest

from exotel_async.errors import InvalidRequestError
from exotel_async.models import NumberMetadata
from exotel_async.wire.converter import converter_for
from exotel_async.wire.looking_up import number_metadata
from exotel_async.wire.values import IST


class TestNumberMetadata:
    @pytest.mark.parametrize(
        ("number", "segment"),
        [("+919876543210", "%2B919876543210"), ("080/1", "080%2F1"), ("0 1", "0%201")],
    )
    def test_target(self, number, segment):
        """The number is one segment of the path, encoded whole."""
        target = number_metadata(number).target(account_sid="acc", response_format="json")

        assert target == f"/v1/Accounts/acc/Numbers/{segment}.json"

    def test_repeatable(self):
        """Looking up changes nothing."""
        request = number_metadata("080")

        assert (request.method, request.repeatable, request.body()) == ("GET", True, None)

    @pytest.mark.parametrize("number", ["", " ", None, 80, b"080", "\ud800"])
    def test_refused(self, number):
        """A missing or blank number is refused by name."""
        with pytest.raises(InvalidRequestError, match="number must be a text") as caught:
            number_metadata(number)

        assert repr(number) in str(caught.value)

    def test_nothing_known(self):
        """An answer that knows nothing of the number is an answer."""
        decode = number_metadata("080").decode

        assert decode(converter_for(IST), {"Numbers": {}}) == NumberMetadata()

    @pytest.mark.parametrize("tree", [{}, {"Numbers": None}, {"Numbers": []}, {"Numbers": ""}])
    def test_senseless(self, tree):
        """An answer without Numbers makes no sense."""
        with pytest.raises(ValueError, match="no Numbers"):
            number_metadata("080").decode(converter_for(IST), tree)
