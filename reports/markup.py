"""HTML from values: everything that is not a tag of ours is escaped here, and nowhere else."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

__all__ = ["Html", "definition_list", "page", "printable", "table", "text"]

# Even if an escape were forgotten somewhere, a browser that honours this runs no script and loads nothing.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


class Html(str):
    """Markup that is already safe; :func:`text` leaves it as it is."""

    __slots__ = ()


def printable(value: object) -> str:
    """A value as one run of visible text: control and format characters, which could reorder or hide words, are replaced."""
    return "".join(_visible(character) for character in str(value))


def _visible(character: str) -> str:
    if character in "\n\t":
        return " "
    return "\N{REPLACEMENT CHARACTER}" if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") else character


def text(value: object) -> Html:
    """A value as text of a page, quotes included, so that it may stand in an attribute too."""
    return value if isinstance(value, Html) else Html(html.escape(printable(value), quote=True))


def table(
    caption: str,
    head: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    numeric: Sequence[int] = (),
    row_classes: Sequence[str] = (),
) -> Html:
    """A table whose cells name their column, so that it can be read as cards on a narrow screen.

    Args:
        caption: says what the table holds.
        head: column names; the first column names the row.
        rows: cells; :class:`Html` cells are taken as they are.
        numeric: columns set flush right.
        row_classes: a class for each row, ours and not from the run.
    """
    columns = "".join(f'<th scope="col"{_right(place, numeric)}>{text(name)}</th>' for place, name in enumerate(head))
    body = []
    for number, row in enumerate(rows):
        first, *others = row
        label = f' class="{row_classes[number]}"' if row_classes else ""
        cells = "".join(
            f'<td data-label="{text(head[place])}"{_right(place, numeric)}>{text(cell)}</td>'
            for place, cell in enumerate(others, start=1)
        )
        body.append(f'<tr{label}><th scope="row">{text(first)}</th>{cells}</tr>')
    return Html(
        f"<table><caption>{text(caption)}</caption><thead><tr>{columns}</tr></thead><tbody>{''.join(body)}</tbody></table>"
    )


def _right(place: int, numeric: Sequence[int]) -> str:
    return ' class="number"' if place in numeric else ""


def definition_list(rows: Iterable[tuple[str, object]]) -> Html:
    """Names and values."""
    return Html("<dl>" + "".join(f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in rows) + "</dl>")


def page(title: str, body: str, banner: str = "") -> str:
    """A whole page: self-contained, no script, nothing loaded from elsewhere.

    Args:
        title: the window's.
        body: markup.
        banner: markup above the sheet.
    """
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{text(_POLICY)}">\n'
        f"<title>{text(title)}</title>\n<style>\n{style}</style>\n</head>\n"
        f'<body>\n{banner}<div class="sheet">\n{body}</div>\n</body>\n</html>\n'
    )
