"""The README's diagrams are those of the models."""

from tests.contracts.entities import README, entities


def test_the_diagrams_show_the_tables_as_they_are() -> None:
    assert entities() in README.read_text(), "run `make contracts`"
