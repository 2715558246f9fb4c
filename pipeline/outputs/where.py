"""``--where``: a condition on the columns of a row, as in SQL's WHERE, and nothing that could be more than that.

::

    condition   = all {"or" all}
    all         = one {"and" one}
    one         = "not" one | "(" condition ")" | column
                | column ("=" | "==" | "!=" | "<>" | "<" | "<=" | ">" | ">=") value
                | column ["not"] "in" "(" value {"," value} ")"
                | column ["not"] "between" value "and" value
                | column "is" ["not"] "null"
    value       = number | 'text' | true | false
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import ConfigError
from pipeline.names import brief, near_names, quoted

Condition: TypeAlias = Any
"""``pyarrow.compute.Expression``, whose package has no types."""
_TIME = "timestamp[us, tz=UTC]"
_TOKEN = re.compile(
    r"\s*(?:(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<text>'(?:[^']|'')*')|(?P<word>[A-Za-z_]\w*)"
    r"|(?P<sign><=|>=|<>|!=|==|[=<>(),]))"
)
_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq, "==": operator.eq, "!=": operator.ne, "<>": operator.ne, "<": operator.lt, "<=": operator.le,
    ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_WHOLE = re.compile(r"[+-]?\d{1,18}")
"""A whole number of 64 bits; larger ones are compared as floating ones."""
DEEPEST = 50
"""Brackets within brackets."""


def condition(text: str, schema: pa.Schema) -> Condition:
    """The condition as pyarrow understands it. Raises ConfigError, one sentence, for what is none of ``schema``."""
    return _Parser(text, schema).whole()


class _Parser:
    """Recursive descent over the tokens of one text."""

    def __init__(self, text: str, schema: pa.Schema) -> None:
        self._text, self._schema, self._depth = text, schema, 0
        self._tokens: list[tuple[str, str]] = []
        self._at, end = 0, len(text.rstrip())
        place = 0
        while place < end:
            found = _TOKEN.match(text, place)
            if found is None:
                raise self._wrong(f"makes no sense from {quoted(text[place:].strip())} on")
            self._tokens.append((str(found.lastgroup), found.group(str(found.lastgroup))))
            place = found.end()

    def whole(self) -> Condition:
        """All of the text."""
        made = self._any()
        if self._at < len(self._tokens):
            raise self._wrong(f"goes on with {quoted(self._next()[1])} where it should end: join with and, or")
        return made

    def _any(self) -> Condition:
        made = self._all()
        while self._took("or"):
            made = made | self._all()
        return made

    def _all(self) -> Condition:
        made = self._one()
        while self._took("and"):
            made = made & self._one()
        return made

    def _one(self) -> Condition:
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._wrong(f"has more than {DEEPEST} brackets within each other")
        if self._took("not"):
            made = ~self._one()
        elif self._took("("):
            made = self._any()
            self._need(")")
        else:
            made = self._about(self._column())
        self._depth -= 1
        return made

    def _about(self, field: pa.Field) -> Condition:
        column = pc.field(field.name)
        kind, sign = self._next()
        if kind == "sign" and sign in _COMPARISONS:
            self._at += 1
            return _COMPARISONS[sign](column, self._value(field))
        if self._took("is"):
            absent = not self._took("not")
            self._need("null")
            return column.is_null() if absent else column.is_valid()
        negated = self._took("not")
        if self._took("in"):
            # As in SQL, what is not known is neither in a list nor outside of it.
            made = pc.if_else(column.is_valid(), column.isin(self._values(field)), pa.scalar(None, pa.bool_()))
        elif self._took("between"):
            low = self._value(field)
            self._need("and")
            made = (column >= low) & (column <= self._value(field))
        elif pa.types.is_boolean(field.type) and not negated:
            return column
        else:
            raise self._wrong(f"lacks a comparison after {field.name}: =, !=, <, <=, >, >=, in, between, is null")
        return ~made if negated else made

    def _values(self, field: pa.Field) -> Any:
        """Those of a list that the column can hold: no row has another."""
        self._need("(")
        values = [self._value(field)]
        while self._took(","):
            values.append(self._value(field))
        self._need(")")
        held = []
        for value in values:
            with suppress(pa.ArrowInvalid):
                held.append(value.cast(field.type))
        return pa.array(held, field.type)

    def _value(self, field: pa.Field) -> Any:
        """The next token as a value of the field's type."""
        kind, token = self._next()
        self._at += 1
        number, text = kind == "number", kind == "text"
        if number and (pa.types.is_floating(field.type) or pa.types.is_integer(field.type)):
            return pa.scalar(int(token)) if _WHOLE.fullmatch(token) else pa.scalar(float(token))
        if text and pa.types.is_string(field.type):
            return pa.scalar(_unquoted(token))
        if text and pa.types.is_timestamp(field.type):
            return pa.scalar(self._moment(_unquoted(token)), field.type)
        if token.lower() in ("true", "false") and kind == "word" and pa.types.is_boolean(field.type):
            return pa.scalar(token.lower() == "true")
        kinds = {"string": "a text in single quotes", "bool": "true or false", _TIME: "a time in single quotes"}
        wanted = kinds.get(str(field.type), "a number")
        raise self._wrong(f"compares {field.name} with {quoted(token or 'nothing')}, and it is {wanted}")

    def _moment(self, text: str) -> datetime:
        try:
            when = datetime.fromisoformat(text)
            return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)
        except (ValueError, OverflowError):  # year 1 east of Greenwich
            raise self._wrong(f"holds {quoted(text)}, which is no ISO 8601 time") from None

    def _column(self) -> pa.Field:
        kind, name = self._next()
        names = [one.name for one in self._schema if not pa.types.is_nested(one.type) and one.name != "geometry"]
        if kind != "word" or name not in names:
            near = near_names(name, names) if kind == "word" else []
            hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(names)}"
            raise self._wrong(f"has {quoted(name or 'nothing')} where the name of a column belongs; {hint}")
        self._at += 1
        return self._schema.field(name)

    def _next(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "")

    def _took(self, word: str) -> bool:
        kind, token = self._next()
        taken = kind in ("word", "sign") and token.lower() == word
        self._at += taken
        return taken

    def _need(self, word: str) -> None:
        if not self._took(word):
            raise self._wrong(f"lacks {quoted(word)} before {quoted(self._next()[1] or 'its end')}")

    def _wrong(self, what: str) -> ConfigError:
        return ConfigError(f"--where {quoted(brief(self._text))} {what}")


def _unquoted(token: str) -> str:
    return token[1:-1].replace("''", "'")
