"""The entity diagrams of the README, drawn from the models of every service."""

import importlib
from pathlib import Path

from sqlalchemy import Column, MetaData, Table
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg

from embedded.home import SERVICES

POSTGRESQL = PGDialect_asyncpg()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped
README = Path(__file__).parents[2] / "README.md"
BEGIN = "<!-- entities: written by `make contracts` from the models, checked by a test -->"
END = "<!-- /entities -->"
OF_THE_CHASSIS = ("outbox", "inbox", "idempotency_keys", "job_runs")


def entities() -> str:
    """The section between the marks: a Mermaid diagram for each service."""
    shared = ", ".join(f"`{name}`" for name in OF_THE_CHASSIS)
    diagrams = [_diagram(name) for name in SERVICES]
    intro = f"Each service has, besides its own tables, those of the chassis: {shared}."
    return "\n\n".join([BEGIN, intro, *diagrams, END])


def write() -> bool:
    """Put the diagrams into the README; whether anything changed."""
    text = README.read_text()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    drawn = before + entities() + after
    if drawn != text:
        README.write_text(drawn)
    return drawn != text


def _diagram(service: str) -> str:
    metadata: MetaData = importlib.import_module(f"{service}.models").Base.metadata
    tables = [table for table in metadata.sorted_tables if table.name not in OF_THE_CHASSIS]
    lines = ["```mermaid", "erDiagram"]
    for table in tables:
        lines += [f"    {table.name} {{", *(f"        {_column(column)}" for column in table.columns), "    }"]
    lines += [relation for table in tables for relation in _relations(table)]
    heading = f"<details><summary><b>{service}</b></summary>"
    return "\n".join([heading, "", *lines, "```", "", "</details>"])


def _column(column: Column[object]) -> str:
    kind = (
        column.type.compile(dialect=POSTGRESQL)
        .lower()
        .partition("(")[0]
        .replace(" with time zone", "tz")
        .replace(" ", "_")
    )
    keys = [name for name, holds in (("PK", column.primary_key), ("FK", column.foreign_keys)) if holds]
    return f"{kind} {column.name}" + (f" {', '.join(keys)}" if keys else "")


def _relations(table: Table) -> list[str]:
    constraints = sorted(table.foreign_key_constraints, key=lambda constraint: str(constraint.name))
    found = []
    for constraint in constraints:
        is_one = {column.name for column in constraint.columns} == {column.name for column in table.primary_key}
        many = "o|" if is_one else "o{"
        found.append(f'    {constraint.referred_table.name} ||--{many} {table.name} : "{constraint.column_keys[0]}"')
    return found
