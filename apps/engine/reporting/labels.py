"""Names of classes as they are drawn, on plots and on images."""

LABEL_LENGTH = 28  # characters


def label(name: str, length: int = LABEL_LENGTH) -> str:
    """A name that can be drawn: one line, printable, cut to a length."""
    clean = "".join(c if c.isprintable() else "\ufffd" for c in name)
    return clean if len(clean) <= length else clean[: length - 1] + "\u2026"
