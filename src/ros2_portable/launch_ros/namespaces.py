"""Names and namespaces of nodes."""

import re


def prefix_namespace(base: str | None, namespace: str | None) -> str | None:
    """Return the absolute namespace of `namespace` in `base`, None if neither is given.

    Raises:
        ValueError: it is no valid namespace.
    """
    if base is None and namespace is None:
        return None
    relative = namespace is None or not namespace.startswith("/")
    parts = ([base] if relative and base else []) + ([namespace] if namespace else [])
    absolute = "/" + "/".join(part.strip("/") for part in parts).strip("/")
    if not re.fullmatch(r"/|(/[A-Za-z_]\w*)+", absolute, re.ASCII):
        raise ValueError(f"invalid namespace '{absolute}': expected names of letters, digits and _")
    return absolute
