"""A packet: what one rater gets, as the file that its page and its table are made from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from distill_gov.records.digest import digest_json
from distill_gov.records.errors import MalformedFileError, NothingLeftError
from distill_gov.records.files import read_json, write_json

__all__ = ["CANNOT_JUDGE", "HELPFULNESS", "PERSONAL_DATA", "Packet", "PacketItem", "Scale", "read_packets", "write_packet"]

CANNOT_JUDGE = "cannot_judge"
PERSONAL_DATA = "personal_data"

_FORMAT = "rating-packet"
_SUFFIX = ".packet.json"


@dataclass(frozen=True, slots=True)
class Scale:
    """A question and its anchors; the first anchor is 1."""

    name: str
    """Name of the score that ratings become."""
    question: str
    anchors: tuple[str, ...]


HELPFULNESS = Scale(
    "helpfulness",
    "How helpful is this answer to the person who wrote the message?",
    (
        "Not helpful: wrong, or makes things worse",
        "Slightly helpful: misses the main point",
        "Partly helpful: right direction, but something important is missing",
        "Helpful: does the job, with small flaws",
        "Very helpful: nothing to improve",
    ),
)


@dataclass(frozen=True, slots=True)
class PacketItem:
    """One answer to rate."""

    item: str
    """Opaque id, another one for every rater."""
    message: str
    answer: str


@dataclass(frozen=True, slots=True)
class Packet:
    """What one rater gets. It names no subject, no case and no person."""

    rater: str
    """The rater's alias."""
    created: str
    """When the packets were exported, UTC; says nothing about when answers were made."""
    scale: Scale
    items: tuple[PacketItem, ...]

    def as_json(self) -> dict[str, Any]:
        value = asdict(self)
        value["scale"]["anchors"], value["items"] = list(self.scale.anchors), list(value["items"])
        return value

    @property
    def digest(self) -> str:
        """What responses name as the packet they answer."""
        return digest_json(self.as_json())


def write_packet(directory: Path, packet: Packet) -> None:
    write_json(directory / (packet.rater + _SUFFIX), packet.as_json(), format=_FORMAT)


def read_packets(directory: Path) -> dict[str, Packet]:
    """Every packet in a directory, by the rater's alias.

    Raises:
        NothingLeftError: there is none.
        MalformedFileError, UnknownFormatError
    """
    packets = {}
    for path in sorted(directory.glob(f"*{_SUFFIX}")):
        packet = _parse(read_json(path, format=_FORMAT), path)
        if path.name != packet.rater + _SUFFIX:
            raise MalformedFileError("packet is of another rater than its file name says", where=str(path))
        packets[packet.rater] = packet
    if not packets:
        raise NothingLeftError("no rating packets", where=str(directory), fix="Run `distill-gov ratings export`.")
    return packets


def _parse(value: dict[str, Any], path: Path) -> Packet:
    try:
        scale = value.pop("scale")
        items = tuple(PacketItem(**row) for row in value.pop("items"))
        packet = Packet(scale=Scale(**{**scale, "anchors": tuple(scale["anchors"])}), items=items, **value)
    except (TypeError, KeyError) as error:
        raise MalformedFileError("not a rating packet", where=str(path)) from error
    return packet
