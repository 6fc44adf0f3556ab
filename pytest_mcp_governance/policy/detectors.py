"""Finds secrets and personal data in text by form and checksum.

Forms that vendors publish, not entropy: clean JSON stays clean. Each detector first asks for a literal that
its form must contain, so that text without one costs next to nothing. No names or addresses: those need a
language model, and belong in an extra. What knows numbers' checksums is loaded with the first text that may hold one:
every recorder imports this module, and few meet such a text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice
from types import MappingProxyType

SECRET_DETECTORS = ("vendor_tokens", "private_keys", "jwt")
PII_DETECTORS = ("email", "us_ssn", "iban", "card")
MAX_VALUES = 100_000  # of one kind in one message

# literal that must occur → full form. Sources: the vendors' pages on token formats.
_TOKEN_FORMS = (
    ("AKIA", r"AKIA[0-9A-Z]{16}"),
    ("ASIA", r"ASIA[0-9A-Z]{16}"),
    ("ghp_", r"ghp_[A-Za-z0-9]{36,255}"),
    ("gho_", r"gho_[A-Za-z0-9]{36,255}"),
    ("ghu_", r"ghu_[A-Za-z0-9]{36,255}"),
    ("ghs_", r"ghs_[A-Za-z0-9]{36,255}"),
    ("ghr_", r"ghr_[A-Za-z0-9]{36,255}"),
    ("github_pat_", r"github_pat_[A-Za-z0-9_]{22,255}"),
    ("glpat-", r"glpat-[A-Za-z0-9_-]{20,64}"),
    ("xox", r"xox[abeoprs]-[A-Za-z0-9-]{10,255}"),
    ("xapp-", r"xapp-[0-9]-[A-Za-z0-9-]{10,255}"),
    ("hooks.slack.com/", r"hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9/_+-]{20,}"),
    ("sk_", r"sk_(?:live|test)_[A-Za-z0-9]{16,255}"),
    ("rk_", r"rk_(?:live|test)_[A-Za-z0-9]{16,255}"),
    ("whsec_", r"whsec_[A-Za-z0-9+/=]{24,}"),
    ("sk-", r"sk-(?=[A-Za-z0-9_-]{0,255}[0-9])(?=[A-Za-z0-9_-]{0,255}[A-Z])[A-Za-z0-9_-]{32,255}"),
    ("AIza", r"AIza[0-9A-Za-z_-]{35}"),
    ("GOCSPX-", r"GOCSPX-[A-Za-z0-9_-]{28}"),
    ("ya29.", r"ya29\.[A-Za-z0-9_-]{20,}"),
    ("npm_", r"npm_[A-Za-z0-9]{36}"),
    ("pypi-", r"pypi-[A-Za-z0-9_-]{50,}"),
    ("hf_", r"hf_[A-Za-z0-9]{34,}"),
    ("SG.", r"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"),
    ("dop_v1_", r"dop_v1_[a-f0-9]{64}"),
    ("shpat_", r"shpat_[a-fA-F0-9]{32}"),
    ("AccountKey=", r"AccountKey=[A-Za-z0-9+/]{86}=="),
)
_TOKENS = tuple((literal, re.compile(rf"(?<![A-Za-z0-9]){form}")) for literal, form in _TOKEN_FORMS)
_JWT = re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*")
_KEY_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----")
_KEY_END = re.compile(r"-----END [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----")
_MAX_KEY = 16_384
_MIN_SECRET = 15  # no form is shorter
_LOCAL = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.!#$%&'*+/=?^_`{|}~-")
_DOMAIN = re.compile(r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,24}(?![A-Za-z0-9])")
# Each character's kind, to look for a form's outline at the speed of memory: digits 0, capitals A, words a.
_OUTLINE = bytes(
    48 if chr(n).isdigit() and n < 128 else 65 if 65 <= n <= 90 else n if chr(n) in " -" else 46 for n in range(256)
)
_WORDS = bytes(97 if n < 128 and (chr(n).isalnum() or chr(n) in "_-./+") else 46 for n in range(256))
_LONG_WORD = b"a" * _MIN_SECRET
_SSN = re.compile(r"[0-9]{3}-[0-9]{2}-[0-9]{4}")
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11,30}")
_CARD = re.compile(r"[0-9](?:[ -]?[0-9]){12,18}")
_CARD_GROUPS = (b"0000000000000", b"0000 000", b"0000-000")  # numbers stand in one piece or in groups from four
# Issuer ranges, so that a timestamp or an order number with a lucky checksum is no card.
_ISSUER = re.compile(
    r"4[0-9]{12}(?:[0-9]{3}){0,2}|5[1-5][0-9]{14}|2(?:2[2-9]|[3-6][0-9]|7[01])[0-9]{13}|2720[0-9]{12}"
    r"|3[47][0-9]{13}|6(?:011|4[4-9][0-9]|5[0-9]{2})[0-9]{12}|3(?:0[0-5]|[68][0-9])[0-9]{11}|35[0-9]{14}"
)


class TooMuch(ValueError):
    """A message deeper, larger or fuller than the policy looks into; nobody can say that it is allowed."""


def detect(name: str, text: str) -> tuple[str, ...]:
    """Every distinct value of one kind in `text`, in order.

    Args:
        name: one of `DETECTORS`.

    Raises:
        KeyError: no such detector.
        TooMuch: more than `MAX_VALUES` values; each of them costs checksums and comparisons.
    """
    found = list(islice(DETECTORS[name](text), MAX_VALUES + 1))
    if len(found) > MAX_VALUES:
        raise TooMuch(f"more than {MAX_VALUES} values of the kind {name}")
    return tuple(dict.fromkeys(found))


def builtin_secrets(text: str) -> tuple[str, ...]:
    """Every value that a secret detector finds."""
    if len(text) < _MIN_SECRET:
        return ()
    return tuple(dict.fromkeys((*_vendor_tokens(text), *_private_keys(text), *_jwt(text))))


def mask(text: str) -> str:
    """`text` with every detected secret and personal value replaced by the detector's name in brackets."""
    for name, finder in DETECTORS.items():
        for value in sorted(set(finder(text)), key=len, reverse=True):
            text = text.replace(value, f"[{name}]")
    return text


def _outline(text: str, table: bytes) -> bytes:
    return text.encode("utf-8", "surrogatepass").translate(table)


def _vendor_tokens(text: str) -> Iterator[str]:
    if _LONG_WORD not in _outline(text, _WORDS):
        return
    for literal, form in _TOKENS:
        if literal in text:
            yield from (match.group() for match in form.finditer(text))


def _private_keys(text: str) -> Iterator[str]:
    if "PRIVATE KEY" not in text:
        return
    begin = _KEY_BEGIN.search(text)
    while begin:
        found = _KEY_END.search(text, begin.end(), begin.end() + _MAX_KEY)
        end = found.end() if found else begin.end() + _MAX_KEY  # a key that was cut off is still a key
        yield text[begin.start() : end]
        begin = _KEY_BEGIN.search(text, end)


def _jwt(text: str) -> Iterator[str]:
    if "eyJ" in text:
        yield from (match.group() for match in _JWT.finditer(text))


def _email(text: str) -> Iterator[str]:
    for domain in _DOMAIN.finditer(text):
        start = at = domain.start()
        while start > 0 and at - start < 64 and text[start - 1] in _LOCAL:
            start -= 1
        while start < at and text[start] == ".":
            start += 1
        if start < at:
            yield text[start : domain.end()]


def _us_ssn(text: str) -> Iterator[str]:
    if b"000-00-0000" not in _outline(text, _OUTLINE):
        return
    for match in _SSN.finditer(text):
        area, group, serial = match.group().split("-")
        issued = area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"
        if issued and _alone(text, match.start(), match.end(), "-"):
            yield match.group()


def _iban(text: str) -> Iterator[str]:
    if b"AA00" not in _outline(text, _OUTLINE):
        return
    from stdnum import iban as stdnum_iban

    valid: dict[str, bool] = {}  # the checksum costs far more than the form
    for match in _IBAN.finditer(text):
        length = _iban_length(match.group()[:2])
        if not length or (match.start() > 0 and text[match.start() - 1].isalnum()):
            continue
        # The form may run on into the next word; the country says where the number ends.
        end, left = match.start(), length
        while left and end < match.end():
            left -= text[end] != " "
            end += 1
        number = text[match.start() : end]
        if not left and number not in valid:
            valid[number] = stdnum_iban.is_valid(number, check_country=False)
        if valid.get(number):
            yield number


@cache
def _iban_length(country: str) -> int:
    """Characters of an IBAN of this country; 0 for a country without one."""
    from stdnum import numdb

    found = numdb.get("iban").info(country)[0][1].get("bban", "")
    return 4 + sum(int(count) for count in re.findall(r"(\d+)!", found)) if found else 0


def _card(text: str) -> Iterator[str]:
    outline = _outline(text, _OUTLINE)
    if not any(group in outline for group in _CARD_GROUPS):
        return
    from stdnum import luhn

    for match in _CARD.finditer(text):
        digits = match.group().replace(" ", "").replace("-", "")
        if _ISSUER.fullmatch(digits) and luhn.is_valid(digits) and _alone(text, match.start(), match.end(), "."):
            yield match.group()


def _alone(text: str, start: int, end: int, joins: str) -> bool:
    """Whether no letter, digit or joining character continues the number on either side."""
    before, after = text[start - 1 : start], text[end : end + 1]
    if after and after in joins:
        after = text[end + 1 : end + 2]
        if not after.isdigit():
            after = ""
    return not (before.isalnum() or (before and before in joins)) and not after.isalnum()


DETECTORS: MappingProxyType[str, Callable[[str], Iterator[str]]] = MappingProxyType(
    {
        "vendor_tokens": _vendor_tokens,
        "private_keys": _private_keys,
        "jwt": _jwt,
        "email": _email,
        "us_ssn": _us_ssn,
        "iban": _iban,
        "card": _card,
    }
)
