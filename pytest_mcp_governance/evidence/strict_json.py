"""Strict JSON for evidence: UTF-8, unique keys, no NaN. Writing is compact ASCII; nothing is canonicalised.

Leaves out any schema: callers check types themselves.
"""

import json
from collections.abc import Callable

_encode: Callable[[object], str] = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode


_OPENS = ("{", "[")


class StrictJsonError(ValueError):
    """The bytes are not one strict JSON value; the text says why and quotes nothing of them."""


def dumps(value: object) -> bytes:
    """Return `value` as compact ASCII JSON.

    Lone surrogates survive as escapes, so any Python string can be stored.

    Raises:
        StrictJsonError: the value holds NaN, an infinity, a cycle or a type that JSON does not have.
    """
    try:
        return _encode(value).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        raise StrictJsonError(f"cannot be written as JSON ({type(error).__name__})") from None


def is_deeper(value: object, levels: int) -> bool:
    """Whether lists and objects nest deeper than `levels`; readers in other languages have small limits."""
    layer = [value]
    for _ in range(levels + 1):
        layer = [
            child
            for item in layer
            if isinstance(item, dict | list | tuple)
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not layer:
            return False
    return True


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise StrictJsonError("the same key twice in one object")
    return made


def _no_constant(name: str) -> object:
    raise StrictJsonError(f"{name} is not JSON")


_decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)


def loads(data: bytes) -> object:
    """Parse one JSON value from UTF-8 bytes.

    Raises:
        StrictJsonError: bad UTF-8, a BOM, a duplicate key, NaN, trailing bytes, too deep or otherwise no JSON.
    """
    try:
        text = data.decode("utf-8")
        return _exactly(text) if text[:1] in _OPENS else _decoder.decode(text)
    except StrictJsonError:
        raise
    except UnicodeDecodeError:
        raise StrictJsonError("not UTF-8") from None
    except json.JSONDecodeError as error:
        raise StrictJsonError(f"no JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise StrictJsonError("nested too deeply") from None
    except ValueError:
        raise StrictJsonError("a number with too many digits") from None


def _exactly(text: str) -> object:
    """As `JSONDecoder.decode`, without its search for white space around the value, which lines do not have."""
    value, end = _decoder.raw_decode(text)
    return value if end == len(text) else _decoder.decode(text)


def loads_object(data: bytes) -> dict[str, object]:
    """Parse one JSON object; as `loads`, and an error where the value is no object."""
    value = loads(data)
    if not isinstance(value, dict):
        raise StrictJsonError("not a JSON object")
    return value
