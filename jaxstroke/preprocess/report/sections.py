"""The fixed sections of a report, whoever writes it."""

SECTIONS = ("side", "territories", "size", "lesions", "signal", "impression")


def rendered(sections: dict[str, str]) -> str:
    """The report: a line a section, `Side: left hemisphere.`; sections that are not there, or empty, are left out."""
    lines = (f"{name.capitalize()}: {' '.join(sections[name].split()).rstrip('.')}." for name in SECTIONS if sections.get(name, "").strip())
    return "\n".join(lines)
