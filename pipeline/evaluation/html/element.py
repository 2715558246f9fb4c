"""HTML and SVG as text: every string is escaped unless an element made it."""

from __future__ import annotations

import html

VOID = ("meta", "br", "img")
"""Elements that have no end."""


class Markup(str):
    """Text that is HTML already. Only :func:`element` and :func:`joined` make it, and the page its style."""

    __slots__ = ()


def element(name: str, /, *children: object, **attributes: object) -> Markup:
    """One element. Children that are no Markup are escaped, and None is left out, as are attributes of None.

    Attributes are named as in Python: ``class_``, ``stroke_width``; ``viewBox`` as it is.
    """
    shown = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Markup(f"<{name}{shown}>")
    return Markup(f"<{name}{shown}>{joined(*children)}</{name}>")


def joined(*parts: object) -> Markup:
    """The parts one after another, escaped unless they are Markup; None is left out."""
    return Markup(
        "".join(part if isinstance(part, Markup) else html.escape(str(part)) for part in parts if part is not None)
    )


def name_of(text: str) -> Markup:
    """A name out of a file: it may be written from right to left, and nothing around it follows."""
    return element("bdi", visible(text))


def visible(text: str) -> str:
    """``text`` with a sign in place of what cannot be seen: line breaks, zero bytes, marks that turn the direction."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
