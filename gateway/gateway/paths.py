"""Which request targets are plain enough to be forwarded byte for byte.

Two programs that read one path differently are how internal routes get reached from outside. So nothing is
normalised here: a path that could be read in two ways is refused.
"""

import re

from gateway.errors import PathRefused, TargetTooLong

MAX_TARGET = 4096

_PLAIN = re.compile(rb"(?:/(?!\.)[A-Za-z0-9._~-]+)*/?")
_ALLOWED = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,=:@/-]|%[0-9A-Fa-f]{2})*")
_QUERY = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?\[\]|{}^`\"<>\\-]|%[0-9A-Fa-f]{2}|%)*")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_SEPARATORS = frozenset(b"/\\;")


def split_target(target: bytes) -> tuple[bytes, bytes]:
    """The raw path of a request target and what follows it, both as they came.

    Raises TargetTooLong and PathRefused.
    """
    if len(target) > MAX_TARGET:
        raise TargetTooLong(f"Keep the URL below {MAX_TARGET} bytes.")
    path, mark, query = target.partition(b"?")
    if not _PLAIN.fullmatch(path) or not path:
        _refuse_ambiguous(path)
    if query and not _QUERY.fullmatch(query):
        raise PathRefused("Percent-encode control, space and non-ASCII characters of the query.")
    return path, mark + query


def _refuse_ambiguous(path: bytes) -> None:
    if not path.startswith(b"/"):
        raise PathRefused("Start the request target with a slash; absolute and authority forms are not taken.")
    if not _ALLOWED.fullmatch(path):
        raise PathRefused("Percent-encode what is no letter, digit or plain punctuation, as UTF-8.")
    decoded = _ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), path)
    if any(byte < 0x20 or byte == 0x7F for byte in decoded):
        raise PathRefused("A path contains no control characters, encoded or not.")
    if any(int(escape[1], 16) in _SEPARATORS for escape in _ESCAPE.finditer(path)):
        raise PathRefused("A path contains no encoded slash, backslash or semicolon.")
    if _ESCAPE.search(decoded):
        raise PathRefused("Percent-encode the path once, not twice.")
    segments = decoded.split(b"/")[1:]
    if b"" in segments[:-1] or any(segment and not segment.strip(b".") for segment in segments):
        raise PathRefused("A path contains no empty segment and none of dots only.")
    try:
        decoded.decode()
    except UnicodeDecodeError:
        raise PathRefused("Percent-encode the path as UTF-8.") from None
