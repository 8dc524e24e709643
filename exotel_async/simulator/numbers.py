"""Says how telephone numbers are spelled, and what is known about each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from types import MappingProxyType

import attrs

# The page prints its numbers with some digits as X.
_DIGITS = "[0-9Xx]"
_NUMBER = re.compile(rf"\+?{_DIGITS}{{5,15}}|sips?:[!-~]+")
_INDIAN = re.compile(rf"(?:\+91|91|0)?({_DIGITS}{{10}})")

CIRCLES: Mapping[str, str] = MappingProxyType(
    {
        "AP": "Andhra Pradesh Telecom Circle",
        "AS": "Assam Telecom Circle",
        "BR": "Bihar & Jharkhand Telecom Circle",
        "CH": "Chennai Metro Telecom Circle (includes Chennai, MEPZ & Mahabalipuram)",
        "DL": "Delhi Metro Telecom Circle (includes NCR, Faridabad, Ghaziabad, Gurgaon & Noida)",
        "GJ": "Gujarat Telecom Circle (includes Daman & Diu, Dadra & Nagar Haveli)",
        "HP": "Himachal Pradesh Telecom Circle",
        "HR": "Haryana Telecom Circle (excludes Faridabad, Gurgaon & Panchkula)",
        "JK": "Jammu & Kashmir Telecom Circle",
        "KL": "Kerala Telecom Circle (includes Lakshadeep)",
        "KA": "Karnataka Telecom Circle",
        "KO": "Kolkata Metro Telecom Circle (includes parts of Haora, Hooghly, "
        "North & South 24 Parganas and Nadia Districts)",
        "MH": "Maharashtra Telecom Circle (includes Goa but excludes Mumbai, Navi Mumbai & Kalyan)",
        "MP": "Madhya Pradesh & Chhattisgarh Telecom Circle",
        "MU": "Mumbai Metro Telecom Circle (includes Navi Mumbai & Kalyan)",
        "NE": "North East India Telecom Circle (includes Arunachal Pradesh, Meghalaya, "
        "Mizoram, Nagaland, Manipur & Tripura)",
        "OR": "Orissa Telecom Circle",
        "PB": "Punjab Telecom Circle (includes Chandigarh & Panchkula)",
        "RJ": "Rajasthan Telecom Circle",
        "TN": "Tamil Nadu Telecom Circle (excludes CH Chennai, MEPZ, Mahabalipuram & Minjur "
        "and includes Pondicherry except Yanam & Mahe)",
        "UE": "Uttar Pradesh (East) Telecom Circle",
        "UW": "Uttar Pradesh (West) & Uttarakhand Telecom Circle (excludes Ghaziabad & Noida)",
        "WB": "West Bengal Telecom Circle (includes Andaman & Nicobar,Sikkim excludes "
        "Calcutta Telecom District)",
        "AN": "Andaman & Nicobar",
        "BY": "Mumbai Metro Telecom Circle (includes Navi Mumbai & Kalyan)",
        "HA": "Haryana Telecom Circle (excludes Faridabad, Gurgaon & Panchkula)",
        "ND": "Delhi Metro Telecom Circle (includes NCR, Faridabad, Ghaziabad, Gurgaon & Noida)",
        "UPE": "Uttar Pradesh (East) Telecom Circle",
        "UPW": "Uttar Pradesh (West) & Uttarakhand Telecom Circle (excludes Ghaziabad & Noida)",
    }
)

OPERATORS: Mapping[str, str] = MappingProxyType(
    {
        "AC": "Aircel",
        "A": "Airtel",
        "AL": "Allianz",
        "B": "BSNL",
        "D": "Dishnet",
        "E": "Etisalat",
        "H": "HFCL",
        "I": "Idea",
        "LO": "Loop",
        "MT": "MTNL",
        "P": "Ping",
        "R": "Reliance",
        "S": "Sistema",
        "ST": "S Tel",
        "T": "Tata",
        "U": "Unitech",
        "VI": "Videocon",
        "V": "Vodafone",
    }
)

# Metro codes of landlines: the one case in which a number tells its circle.
_METROS = {"11": "DL", "22": "MU", "33": "KO", "40": "AP", "44": "CH", "80": "KA"}
_DND = ("Yes", "No", "No", "Unavailable")


@attrs.frozen(kw_only=True)
class Metadata:
    """What Exotel knows about one number."""

    phone_number: str
    circle: str
    kind: str  # "Mobile" or "Landline"
    operator: str
    dnd: str  # "Yes", "No" or "Unavailable"


_KNOWN = {
    # The number of the page's sample.
    "XXXXX30240": ("GJ", "Mobile", "R", "Yes"),
    "0000000403": ("KA", "Mobile", "A", "Yes"),
}


def is_number(text: str) -> bool:
    """Tell whether this could be a telephone number or a SIP address.

    >>> is_number("+919812345678"), is_number("080XXXX2400"), is_number("hello")
    (True, True, False)
    """
    return _NUMBER.fullmatch(text) is not None


def key(number: str) -> str:
    """Give the part that all spellings of a number share.

    >>> {key(n) for n in ("+919812345678", "09812345678", "919812345678", "9812345678")}
    {'9812345678'}
    """
    indian = _INDIAN.fullmatch(number)
    return indian[1].upper() if indian else number.removeprefix("+").lower()


def e164(number: str) -> str:
    """Spell an Indian number the international way; leave others alone.

    >>> e164("09812345678")
    '+919812345678'
    """
    indian = _INDIAN.fullmatch(number)
    return f"+91{indian[1]}" if indian else number


def metadata(number: str) -> Metadata:
    """Look a number up; the same number always gives the same answer."""
    indian = _INDIAN.fullmatch(number)
    if indian is None:
        return Metadata(phone_number=number, circle="", kind="", operator="", dnd="Unavailable")
    digits = indian[1]
    circle, kind, operator, dnd = _KNOWN.get(digits) or _made_up(number, digits)
    return Metadata(phone_number=f"0{digits}", circle=circle, kind=kind, operator=operator, dnd=dnd)


def _made_up(number: str, digits: str) -> tuple[str, str, str, str]:
    chance = sha256(digits.encode()).digest()
    operator = list(OPERATORS)[chance[1] % len(OPERATORS)]
    dnd = _DND[chance[2] % len(_DND)]
    # Mobile numbers begin with 6 to 9; of those only a written 080 means Bengaluru.
    if digits[0] in "12345" or number.startswith("080"):
        return _METROS.get(digits[:2], "KA"), "Landline", operator, dnd
    return list(CIRCLES)[chance[0] % len(CIRCLES)], "Mobile", operator, dnd
