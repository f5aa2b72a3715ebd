"""The one block that `make run` prints when the shop is open."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Opening:
    """What a newcomer wants to know."""

    gateway: str
    simulator: str
    data: Path
    log: Path
    seconds: float
    afresh: str = "make reset"
    """How to begin anew."""
    password: str = "haat-demo-2026"  # noqa: S105 - the documented password of the demo users


def block(opening: Opening) -> str:
    """The text of `opening.txt`, filled in; its curl lines buy something when pasted into a shell as they stand."""
    text = files("embedded").joinpath("opening.txt").read_text()
    for name, value in (
        ("GATEWAY", opening.gateway),
        ("SIMULATOR", opening.simulator),
        ("PASSWORD", opening.password),
        ("SECONDS", f"{opening.seconds:.1f}"),
        ("DATA", str(opening.data)),
        ("LOG", str(opening.log)),
        ("AFRESH", opening.afresh),
    ):
        text = text.replace(f"@{name}@", value)
    return text
