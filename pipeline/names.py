"""Names that people and files give to other things: scenes, areas, weights, folders. Judged before anything is opened.

GDAL takes far more than paths for a name: ``/vsicurl/…`` and its kin open addresses and archives, ``DRIVER:…`` opens
by way of another format, and a line break in a name makes two sentences of one message.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable
from urllib.parse import urlsplit, urlunsplit

LONGEST = 4096
"""Characters of the longest name taken: Linux takes no longer path either."""

_SHOWN = 200
QUOTED = 60
"""Characters of a name or a value out of a file that a sentence repeats."""
_LISTED = 10


def complaint(name: str, *, allow_virtual: bool = False) -> str | None:
    """What is wrong with ``name``, as the end of a sentence, whatever it names; None for nothing."""
    if len(name) > LONGEST:
        return f"the name has {len(name)} characters, and no path or address has more than {LONGEST}"
    odd = None
    if not name.isprintable():  # which says at once that there is none of these
        odd = next((letter for letter in name if unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp")), None)
    if odd is not None:
        return f"the name holds U+{ord(odd):04X}, which no name may: rename it"
    if "://" in name and not _is_address(name):
        return "it is no address"
    if not allow_virtual and is_virtual(path_part(name)):
        return "this is the name of one of GDAL's virtual files, which can be any file or address"
    return None


def _is_address(name: str) -> bool:
    try:
        urlsplit(name)
    except ValueError:  # such as http://[
        return False
    return True


def is_virtual(path: str) -> bool:
    """Whether GDAL would take ``path`` for one of its virtual file systems, however many slashes and dots precede."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return path.startswith("/") and bool(parts) and parts[0].lower().startswith("vsi")


def path_part(name: str) -> str:
    """A local name or ``file://`` address without its scheme; the path of any other address is not a local one."""
    scheme, separator, rest = name.partition("://")
    if not separator or name.startswith("/"):
        return name
    return "/" + rest.lstrip("/") if scheme.lower() == "file" else ""


def shown(name: str) -> str:
    """``name`` as it may stand in a sentence: one line, of bounded length, without secrets."""
    text = "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in public_uri(name))
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN // 2]}…{text[-_SHOWN // 4 :]}"


def public_uri(uri: str) -> str:
    """``uri`` without user, password and query, which may be credentials: what messages and records may show."""
    if "://" not in uri:
        return uri
    if not _is_address(uri):
        return uri.split("://", 1)[0] + "://…"
    parts = urlsplit(uri)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def quoted(value: object) -> str:
    """What a file or a command line said, a name or a value, as it may stand in a sentence: one line, at most QUOTED
    characters. Texts stand in quotes."""
    text = brief(value if isinstance(value, str) else repr(value))
    return f"'{text}'" if isinstance(value, str) else text


def listed(names: Iterable[object]) -> str:
    """Names out of a file in a sentence: the first few, each of bounded length, and how many more there are."""
    every = [brief(str(name)) for name in names]
    more = f" and {len(every) - _LISTED} more" if len(every) > _LISTED + 1 else ""
    return ", ".join(every[:_LISTED] if more else every) + more


def told(error: Exception) -> str:
    """The kind of an error and what it says, which may be what a file said, in bounded length."""
    if isinstance(error, KeyError) and error.args:  # it says the key that is missing, and nothing else
        return f"KeyError({quoted(error.args[0])})"
    return shown(repr(error))


def brief(text: str) -> str:
    """A name in a sentence: one line, at most QUOTED characters, without quotes."""
    line = "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in text[: QUOTED + 1])
    return line if len(line) <= QUOTED else f"{line[: QUOTED - 1]}…"


def near_names(name: str, known: Iterable[str]) -> list[str]:
    """Those of ``known`` that ``name`` may have been meant to be, nearest first, three at most; often none.

    Near is the same but for one slip in four letters (one more, one less, another, two exchanged), or one of its two
    words. Of dotted names the last part may do.
    """
    wanted = _plain(name)
    ranked = sorted((_distance(wanted, _plain(one)), position, one) for position, one in enumerate(known))
    best = ranked[0][0] if ranked else math.inf
    return [one for distance, _, one in ranked if distance < math.inf and distance <= best + _SAME][:3]


_SAME = 0.05
"""Names whose distances differ by less are equally near."""
_WORD = 0.2
"""Distance of a name that holds the other as a word: less than that of one with a slip in four letters."""


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")


def _distance(wanted: str, one: str) -> float:
    """0 for the same, a share of its letters for slips, infinite for what is not near."""
    last, last_wanted = one.rpartition(".")[2], wanted.rpartition(".")[2]
    if wanted == one:
        return 0.0
    if last_wanted == last:
        return 0.01
    pairs = [(wanted, one), (wanted, last), (last_wanted, last)]
    slips = min(_slips(a, b) / max(len(a), len(b)) if max(len(a), len(b)) > 2 else math.inf for a, b in pairs)
    short = min(max(len(wanted), len(one)), max(len(last_wanted), len(last)))
    if slips <= 0.25 or (short <= 4 and slips <= 1 / 3):
        return slips
    words = set(last.split("_"))
    if len(last_wanted) > 2 and ((last_wanted in words and len(words) <= 2) or last_wanted.startswith(f"{last}_")):
        return _WORD
    return math.inf


def _slips(a: str, b: str) -> int:
    """Letters to put in, leave out, change, or exchange with the next, to make ``b`` of ``a``."""
    before: list[int] = []
    above = list(range(len(b) + 1))
    for i in range(1, len(a) + 1):
        here = [i]
        for j in range(1, len(b) + 1):
            here.append(min(above[j] + 1, here[j - 1] + 1, above[j - 1] + (a[i - 1] != b[j - 1])))
            if i > 1 and j > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1]:
                here[j] = min(here[j], before[j - 2] + 1)
        before, above = above, here
    return above[-1]
