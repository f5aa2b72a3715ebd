"""A document that names a file names one that exists."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
QUOTED_PATH = re.compile(r"`([\w.-]+(?:/[\w.-]+)*/?)`")
FENCE = re.compile(r"```.*?```", re.DOTALL)


def test_every_relative_link_leads_somewhere(root: Path, tracked: Sequence[Path]) -> None:
    broken = [
        f"{document.relative_to(root)}: {target}"
        for document in tracked
        if document.suffix == ".md"
        for target in _relative_links(document)
        if not (document.parent / unquote(target.partition("#")[0])).exists()
    ]
    assert not broken, "Links that lead nowhere:\n" + "\n".join(broken)


def test_every_path_in_the_tables_of_the_readme_exists(root: Path) -> None:
    rows = [line for line in (root / "README.md").read_text().splitlines() if line.startswith("|")]
    named = {path for row in rows for path in QUOTED_PATH.findall(row) if "/" in path}
    missing = sorted(path for path in named if not (root / path).exists())
    assert not missing, f"The README's tables name what does not exist: {missing}"


def _relative_links(document: Path) -> Iterator[str]:
    for target in LINK.findall(FENCE.sub("", document.read_text())):
        if not target.startswith(("#", "http:", "https:", "mailto:")):
            yield target
