"""What deploy/README.md has operators type for a backup is what `make test-restore` rehearses."""

from pathlib import Path

from stack.topology import PARTS
from tests.restore.backups import COUNTING_ON, FILES, ORDER

README = Path(__file__).parents[2] / "deploy" / "README.md"
LISTENS_TO = {part.name: set(part.listens_to) for part in PARTS}
PUBLISHES = {part.name: set(part.publishes) for part in PARTS}


def test_the_documented_commands_are_the_rehearsed_ones() -> None:
    told = README.read_text()
    assert f"for service in {' '.join(ORDER)}; do" in told
    assert f"for service in {' '.join(COUNTING_ON)}; do psql" in told
    for command in ("pg_dump --format=custom", "pg_restore --exit-on-error --single-transaction", "pg_basebackup"):
        assert command in told
    assert all((FILES / f"restored_{service}.sql").exists() for service in COUNTING_ON)


def test_whoever_only_hears_is_dumped_first() -> None:
    """Events tell a database that is behind what it has missed; nothing takes back what one that is ahead has heard."""
    assert set(ORDER) == {part.name for part in PARTS if part.has_database}
    ahead = {
        (listener, teller)
        for number, teller in enumerate(ORDER)
        for listener in ORDER[number + 1 :]
        if LISTENS_TO[listener] & PUBLISHES[teller]
    }
    # What orders heard of payments, the provider tells payments again; what it heard of catalog, catalog decides again.
    assert ahead == {("orders", "payments"), ("orders", "catalog")}
