"""What files hold, read without trust: a missing or strange value is None, never an exception."""
import json
from pathlib import Path

from reporting.drawing import ReportError


MOST = 1e15  # no measurement is larger
MOST_LETTERS = 60  # of a name


def number(record, field):
    """The field of an object as a float, or None; what is no number counts as missing."""
    value = record.get(field) if isinstance(record, dict) else None
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and -MOST <= value <= MOST else None


def clean(words):
    """Without what no document may hold."""
    return "".join(c if c in "\t\n" or c.isprintable() else "\ufffd" for c in str(words))


def name_of(words):
    """On one line, and not too long for a picture."""
    words = clean(" ".join(str(words).split()))
    return words if len(words) <= MOST_LETTERS else words[:MOST_LETTERS - 1] + "…"


def text(record, field):
    """The field of an object as a name, where it is a text with something in it, or None."""
    value = record.get(field) if isinstance(record, dict) else None
    return name_of(value) if isinstance(value, str) and value.strip() else None


def objects(value):
    """The objects of a list; none of what is no list."""
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def read_json(path):
    """A file's value; of .jsonl the list of its lines, but for a last one that was cut short."""
    try:
        content = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ReportError(f"{path}: {error}") from None
    try:
        if not str(path).endswith(".jsonl"):
            return json.loads(content)
        lines = content.splitlines(keepends=True)
        if lines and not lines[-1].endswith("\n"):
            lines.pop()
        return [json.loads(line) for line in lines if line.strip()]
    except (ValueError, RecursionError) as error:
        raise ReportError(f"{path}: no JSON ({error})") from None


def length_label(n_tokens):
    """4096 is 4K, 4000 is 4,000."""
    n_tokens = int(n_tokens)
    return f"{n_tokens // 1024}K" if n_tokens >= 1024 and n_tokens % 1024 == 0 else f"{n_tokens:,}"


def list_of(words):
    """a, b and c."""
    words = list(words)
    return ", ".join(words[:-1]) + (" and " if len(words) > 1 else "") + words[-1] if words else ""
