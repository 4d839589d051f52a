# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Pieces of a page: everything that varies is escaped here, and nothing refers to anything outside of the page."""

import base64
import re
from collections.abc import Mapping, Sequence
from html import escape


def section(anchor: str, title: str, *content: str) -> str:
    """A section with its heading; empty pieces are left out."""
    body = "\n".join(piece for piece in content if piece)
    return f'<section id="{anchor}">\n<h2>{escape(title)}</h2>\n{body}\n</section>'


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of plain text, in which backquotes mark code."""
    words = re.sub("`([^`]*)`", r"<code>\1</code>", escape(text))
    return f'<p class="{kind}">{words}</p>' if kind else f"<p>{words}</p>"


def figure(content: str, caption: str, details: str = "", kind: str = "chart") -> str:
    """A figure with its caption."""
    return f'<figure class="{kind}">\n{content}\n<figcaption>{escape(caption)}</figcaption>\n{details}</figure>\n'


def image(data: bytes, size: tuple[int, int], alt: str, still: bytes = b"") -> str:
    """A picture (WebP) inside the page.

    Args:
        data: the file.
        size: width and height, pixels.
        alt: what it shows.
        still: picture for those who want no motion.
    """
    tag = f'<img src="{_uri(data)}" width="{size[0]}" height="{size[1]}" alt="{escape(alt, quote=True)}">'
    if not still:
        return tag
    source = f'<source media="(prefers-reduced-motion: reduce)" srcset="{_uri(still)}">'
    return f"<picture>{source}{tag}</picture>"


def _uri(data: bytes) -> str:
    return f"data:image/webp;base64,{base64.b64encode(data).decode()}"


def number(value: float | None, digits: int = 3) -> str:
    """A number as it is read, with its exact value for machines; a dash where it does not exist."""
    if value is None:
        return "–"
    return f'<data value="{value!r}">{value:.{digits}f}</data>'


def table(header: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "") -> str:
    """A table that scrolls by itself where it is too wide.

    Args:
        header: names of the columns.
        rows: cells as HTML, the first of each is its heading; a row of one cell heads those that follow.
        kind: class of the table.
    """
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    lines = [
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in others)}</tr>'
        if others
        else f'<tr class="group"><th scope="rowgroup" colspan="{len(header)}">{first}</th></tr>'
        for first, *others in rows
    ]
    body = "\n".join(lines)
    return (
        f'<div class="scroll" tabindex="0"><table class="{kind}">\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def numbers(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The numbers behind a chart, folded away."""
    cells = [[escape(cell) for cell in row] for row in rows]
    return f"<details><summary>numbers</summary>{table(header, cells)}</details>"


def definitions(values: Mapping[str, object]) -> str:
    """Names and what they are; mappings inside are flattened."""
    lines = []
    for name, value in values.items():
        inner = [f"{key}: {text}" for key, text in value.items()] if isinstance(value, Mapping) else [str(value)]
        texts = "".join(f"<dd>{escape(text)}</dd>" for text in inner)
        lines.append(f"<div><dt>{escape(name.replace('_', ' '))}</dt>{texts}</div>")
    return f"<dl>{''.join(lines)}</dl>"


def command(text: str) -> str:
    """A command to copy, whose options are not torn apart where lines break."""
    parts = [f"<span>{escape(part)}</span>" for part in re.split(" (?=--)", text)]
    return f"<pre><code>{' '.join(parts)}</code></pre>"
