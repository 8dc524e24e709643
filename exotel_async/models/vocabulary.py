"""Which words does Exotel use.

All vocabularies are open: a field is a plain `str`, equal to a member here where the word is
known, and whatever Exotel sent where it is not.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class CallStatus(StrEnum):
    """How a whole call stands. Exotel: Voice v1, "Call Details", Status."""

    QUEUED = "queued"
    RINGING = "ringing"
    IN_PROGRESS = "in-progress"  # in connect's own answer: being dialled, not answered yet
    COMPLETED = "completed"  # for an inbound call even if nobody answered: look at the second leg
    FAILED = "failed"
    BUSY = "busy"
    NO_ANSWER = "no-answer"
    CANCELED = "canceled"


FINAL_STATUSES = frozenset({"completed", "failed", "busy", "no-answer", "canceled"})


class LegStatus(StrEnum):
    """How one leg of a call stands. Exotel: Voice v1, "Call Details", Leg1Status."""

    QUEUED = "queued"
    RINGING = "ringing"
    IN_PROGRESS = "in-progress"
    COMPLETED = "completed"
    FAILED = "failed"
    BUSY = "busy"
    NO_ANSWER = "no-answer"
    CANCELED = "canceled"


class Direction(StrEnum):
    """Who called. Exotel: Voice v1, "Call Details", Direction."""

    INBOUND = "inbound"
    OUTBOUND_DIAL = "outbound-dial"  # from Exotel's dashboard
    OUTBOUND_API = "outbound-api"  # all other outbound calls


class AnsweredBy(StrEnum):
    """What answered. Exotel: Voice v1, "Call Details", AnsweredBy."""

    HUMAN = "human"


class Dnd(StrEnum):
    """Whether a number is on the do-not-disturb register. Exotel: Voice v1, "Number Metadata".

    It does not predict what connect does: a number that called you lately may be called back.
    """

    YES = "Yes"
    NO = "No"
    UNAVAILABLE = "Unavailable"


class Circle(StrEnum):
    """A telecom circle of India; `circle_name` is its name. Exotel: Voice v1, "Number Metadata"."""

    circle_name: str

    def __new__(cls, code: str, circle_name: str) -> Self:
        """Make a member that is its code and carries its name."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.circle_name = circle_name
        return member

    AP = "AP", "Andhra Pradesh Telecom Circle"
    AS = "AS", "Assam Telecom Circle"
    BR = "BR", "Bihar & Jharkhand Telecom Circle"
    CH = "CH", "Chennai Metro Telecom Circle (includes Chennai, MEPZ & Mahabalipuram)"
    DL = "DL", "Delhi Metro Telecom Circle (includes NCR, Faridabad, Ghaziabad, Gurgaon & Noida)"
    GJ = "GJ", "Gujarat Telecom Circle (includes Daman & Diu, Dadra & Nagar Haveli)"
    HP = "HP", "Himachal Pradesh Telecom Circle"
    HR = "HR", "Haryana Telecom Circle (excludes Faridabad, Gurgaon & Panchkula)"
    JK = "JK", "Jammu & Kashmir Telecom Circle"
    KL = "KL", "Kerala Telecom Circle (includes Lakshadeep)"
    KA = "KA", "Karnataka Telecom Circle"
    KO = (
        "KO",
        "Kolkata Metro Telecom Circle (includes parts of Haora, Hooghly, North & South 24 Parganas and Nadia Districts)",
    )
    MH = "MH", "Maharashtra Telecom Circle (includes Goa but excludes Mumbai, Navi Mumbai & Kalyan)"
    MP = "MP", "Madhya Pradesh & Chhattisgarh Telecom Circle"
    MU = "MU", "Mumbai Metro Telecom Circle (includes Navi Mumbai & Kalyan)"
    NE = (
        "NE",
        "North East India Telecom Circle (includes Arunachal Pradesh, Meghalaya, Mizoram, Nagaland, Manipur & Tripura)",
    )
    OR = "OR", "Orissa Telecom Circle"
    PB = "PB", "Punjab Telecom Circle (includes Chandigarh & Panchkula)"
    RJ = "RJ", "Rajasthan Telecom Circle"
    TN = (
        "TN",
        "Tamil Nadu Telecom Circle (excludes CH Chennai, MEPZ, Mahabalipuram & Minjur and includes Pondicherry except Yanam & Mahe)",
    )
    UE = "UE", "Uttar Pradesh (East) Telecom Circle"
    UW = "UW", "Uttar Pradesh (West) & Uttarakhand Telecom Circle (excludes Ghaziabad & Noida)"
    WB = (
        "WB",
        "West Bengal Telecom Circle (includes Andaman & Nicobar,Sikkim excludes Calcutta Telecom District)",
    )
    AN = "AN", "Andaman & Nicobar"
    BY = "BY", "Mumbai Metro Telecom Circle (includes Navi Mumbai & Kalyan)"
    HA = "HA", "Haryana Telecom Circle (excludes Faridabad, Gurgaon & Panchkula)"
    ND = "ND", "Delhi Metro Telecom Circle (includes NCR, Faridabad, Ghaziabad, Gurgaon & Noida)"
    UPE = "UPE", "Uttar Pradesh (East) Telecom Circle"
    UPW = "UPW", "Uttar Pradesh (West) & Uttarakhand Telecom Circle (excludes Ghaziabad & Noida)"


class Operator(StrEnum):
    """A telecom operator of India; `operator_name` is its name. Exotel: "Number Metadata"."""

    operator_name: str

    def __new__(cls, code: str, operator_name: str) -> Self:
        """Make a member that is its code and carries its name."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.operator_name = operator_name
        return member

    AC = "AC", "Aircel"
    A = "A", "Airtel"
    AL = "AL", "Allianz"
    B = "B", "BSNL"
    D = "D", "Dishnet"
    E = "E", "Etisalat"
    H = "H", "HFCL"
    I = "I", "Idea"  # noqa: E741 - Exotel's own code
    LO = "LO", "Loop"
    MT = "MT", "MTNL"
    P = "P", "Ping"
    R = "R", "Reliance"
    S = "S", "Sistema"
    ST = "ST", "S Tel"
    T = "T", "Tata"
    U = "U", "Unitech"
    VI = "VI", "Videocon"
    V = "V", "Vodafone"
