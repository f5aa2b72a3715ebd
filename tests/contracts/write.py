"""`make contracts`: writes every snapshot of API, events and tables anew. Read the difference as a client would.

Examples are made by hand, since they should look like the real thing; what has none is named at the end.
"""

import sys
from pathlib import Path

from tests.contracts import entities
from tests.contracts.published import ROOT, Part, parts, schema_of, written


def main() -> int:
    """Write all; 1 when an event has no example."""
    changed = [file for part in parts().values() for file in _write(part)]
    if entities.write():
        changed.append(entities.README)
    for file in changed:
        print(f"written  {file.relative_to(ROOT.parent)}")
    missing = [
        f"{part.name}: {event.type}"
        for part in parts().values()
        for event in part.events
        if not (part.contracts / "events" / f"{event.type}.example.json").exists()
    ]
    for event in missing:
        print(f"needs an example by hand  {event}", file=sys.stderr)
    return 1 if missing else 0


def _write(part: Part) -> list[Path]:
    wanted = {part.contracts / "openapi.json": written(part.openapi)}
    wanted |= {part.schema_file(event.type): written(schema_of(event)) for event in part.events}
    changed = [file for file, text in wanted.items() if not file.exists() or file.read_text() != text]
    for file in changed:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(wanted[file])
    for file in (part.contracts / "events").glob("*.schema.json"):
        if file not in wanted:
            file.unlink()
            changed.append(file)
    return changed


if __name__ == "__main__":
    sys.exit(main())
