"""Letters of other scripts that look like Latin ones, after Unicode's table of confusables (UTS #39, confusables.txt 16.0).

A small choice of it: letters that readers take for a Latin one in running text. Compatibility forms (full-width, mathematical,
circled, superscript) are not here, since NFKC maps them already (UAX #15).
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["CONFUSABLES", "LATIN_LOOKALIKES"]


def _pairs(theirs: str, latin: str) -> dict[str, str]:
    return dict(zip(theirs, latin, strict=True))


CONFUSABLES: Mapping[str, str] = {
    # Cyrillic
    **_pairs("авгекмнопрстухьѕіјһԁԛԝӏѵүҽ", "abrekmhonpctyxbsijhdqwlvye"),
    **_pairs("АВСЕНІЈКМОРԚЅТԜХУҮԌѴӀЗ", "ABCEHIJKMOPQSTWXYYGVI3"),
    # Greek
    **_pairs("αγεηικνορστυχωϲϳ", "ayenikvopotuxwcj"),
    **_pairs("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧϹͿ", "ABEZHIKMNOPTYXCJ"),
    # Armenian
    **_pairs("օսհոցզյՏԼՕՍ", "ouhngqjSLOU"),
    # Cherokee
    **_pairs("ᎪᏴᏟᎠᎬᎶᎻᎫᏦᏞᎷᏢᏒᏚᎢᏙᎳᏃ", "ABCDEGHJKLMPRSTVWZ"),
    # Lisu
    **_pairs("ꓮꓐꓚꓓꓰꓝꓖꓧꓲꓙꓗꓡꓟꓠꓳꓑꓣꓢꓔꓴꓦꓪꓫꓬꓜ", "ABCDEFGHIJKLMNOPRSTUVWXYZ"),
}
"""Read as Latin only in a token that holds Latin letters too, or digits: a text in these scripts stays what it is."""

LATIN_LOOKALIKES: Mapping[str, str] = {
    **_pairs("ɑɡɩʀɴɪʟʏʜɢʙᴀᴄᴅᴇᴊᴋᴍᴏᴘᴛᴜᴠᴡᴢꜰꜱ", "agirnilyhgbacdejkmoptuvwzfs"),
    **_pairs("⁄∕∶꞉ˍ⁎٭", "//::_**"),
}
"""Small capitals and the like of the Latin script itself, and marks: read so wherever they stand."""
