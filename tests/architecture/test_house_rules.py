"""What a linter does not know about this house."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

NOT_PROSE = {".png", ".jpg", ".svg", ".woff2", ".ico"}
RULES = {
    "unfinished work is an issue, not a comment": r"\b(TO[D]O|FIX[M]E)\b",
    "no registry is named": r"pypi\.org|pythonhosted\.|registry\.npm|--(extra-)?index-url",
    "no path of one machine": r"(?<![\w.])/(home|Users|root|work)/[\w.-]+",
    "a suppressed warning names its rule": r"# (noqa|type: ignore)(?!: [A-Z0-9, ]+|\[[\w, -]+\])",
    "a suppressed warning gives its reason": r"# (noqa: [A-Z0-9, ]+|type: ignore\[[\w, -]+\])\W*$",
}
NAMES_OF_LAYERS = {"service", "utils", "helpers", "manager", "common", "misc"}


@pytest.mark.parametrize("rule", RULES)
def test_every_file_keeps_the_house_rules(rule: str, root: Path, tracked: Sequence[Path]) -> None:
    broken = [
        f"{path.relative_to(root)}:{number} {line.strip()[:80]}"
        for path in tracked
        if path.suffix not in NOT_PROSE and path != Path(__file__)
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1)
        if re.search(RULES[rule], line)
    ]
    assert not broken, f"{rule}:\n" + "\n".join(broken)


def test_files_are_named_after_what_happens_in_them(root: Path, tracked: Sequence[Path]) -> None:
    chassis = root / "chassis"  # there a service is the thing that is made
    named = [
        str(path.relative_to(root))
        for path in tracked
        if path.stem in NAMES_OF_LAYERS and path.suffix == ".py" and not path.is_relative_to(chassis)
    ]
    assert not named, f"These are named after a layer: {named}"
