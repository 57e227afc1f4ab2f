"""Tell in plain data what an object is, so that it can be hashed, logged and rebuilt."""

import errno
import hashlib
import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


_USER = re.compile(  # a password may hold an @ or a / itself; digits alone are a port
    r"(://[^:/@\[\s]*):(?!\d*(?:[/?#\s]|$))(?:[^/\s]+@|(?:(?!://)\S)+@)"
)
_QUERY = re.compile(
    r"([?&;](?:[\w.-]*(?:passw|passphrase|pwd|token|secret|api_?key|access_?key|credential|signature"
    r"|bearer|[_-]key)[\w.-]*|key|pass|sig|auth|authorization|jwt)=)"
    r"(?:'[^']*'|\"[^\"]*\"|[^&;#\s'\"]+)",
    re.IGNORECASE,
)


def hide_passwords(text: str) -> str:
    """Put stars in the place of the passwords, keys and tokens of every URL in a text."""
    return _QUERY.sub(r"\1***", _USER.sub(r"\1:***@", text))


def describe(part: Any, key_only: bool = False) -> Any:
    """Turn a part of the configuration back into the plain node that builds it.

    Args:
        part: A frozen dataclass, or what stands in its fields.
        key_only: Leave out fields marked `metadata={"key": False}`: those that do not change
            what the part computes, such as the number of threads.

    Returns:
        Dictionaries, lists, texts and numbers; a dataclass carries its class as `_target_`.
    """
    if is_dataclass(part) and not isinstance(part, type):
        cls = type(part)
        node = {
            field.name: describe(getattr(part, field.name), key_only)
            for field in fields(part)
            if not (key_only and field.metadata.get("key") is False)
        }
        return {"_target_": f"{cls.__module__}.{cls.__qualname__}", **node}
    if isinstance(part, dict):
        return {str(name): describe(value, key_only) for name, value in part.items()}
    if isinstance(part, list | tuple):
        return [describe(value, key_only) for value in part]
    return part


def sha256_of(path: Path) -> str:
    """Hash a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
