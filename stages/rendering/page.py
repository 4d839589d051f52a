# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The report as one page that needs nothing but itself."""

from html import escape

from stages.rendering.contents import Contents
from stages.rendering.html import paragraph, section
from stages.rendering.sections import errors, labels, numbers, origin, pictures, training, worst
from stages.rendering.style import STYLE

_FOOT = "Written by the stage `render`; the same inputs give the same file."


def page(contents: Contents) -> str:
    """The whole page."""
    sections = {
        "numbers": ("Numbers", numbers(contents)),
        "pictures": ("Pictures", pictures(contents)),
        "errors": ("Where the error is", errors(contents)),
        "worst": ("Worst frames", worst(contents)),
        "labels": ("Labels", labels(contents)),
        "training": ("Training", training(contents)),
        "origin": ("What was scored, and what made it", origin(contents)),
    }
    links = "".join(f'<a href="#{anchor}">{escape(title)}</a>' for anchor, (title, _) in sections.items())
    body = "\n".join(section(anchor, title, *pieces) for anchor, (title, pieces) in sections.items())
    title = f"Scene flow, {contents.split} split"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<link rel="icon" href="data:,">\n<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n'
        f"<header>\n<h1>{escape(title)}</h1>\n{paragraph(_lede(contents), 'lede')}\n<nav>{links}</nav>\n</header>\n"
        f"<main>\n{body}\n</main>\n<footer>\n{paragraph(_FOOT)}\n</footer>\n</body>\n</html>\n"
    )


def _lede(contents: Contents) -> str:
    if not contents.logs:
        return f"The {contents.split} split has no logs."
    made = contents.metrics.get("provenance", {})
    trained = f"Trained with {made['trained']}. " if "trained" in made else ""
    frames = contents.metrics.get("protocol", {}).get("frames_v1", 0)
    logs = "1 log" if contents.logs == 1 else f"{contents.logs:,} logs"
    known = "" if contents.annotated == contents.logs else f", {contents.annotated:,} of them annotated"
    return f"{trained}Scored on {frames:,} frames of {logs}{known}."
