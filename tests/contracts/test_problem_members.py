"""What a refusal tells beside the members of every problem document has a type that a client can build on."""

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

from chassis.problems import GENERIC, Problem
from embedded.shop import PARTS

OF_EVERY_PROBLEM = {"errors", *inspect.signature(Problem.__init__).parameters, "retry_after"}


@pytest.mark.parametrize("name", [*PARTS, "gateway"])
def test_every_member_of_a_refusal_is_described(name: str) -> None:
    package = importlib.import_module(name)
    problems = (*GENERIC, *importlib.import_module(f"{name}.errors").PROBLEMS)
    kinds = {kind.__name__: kind for kind in problems}
    given = {
        (kind, member)
        for path in Path(package.__path__[0]).glob("*.py")
        for kind, member in _given(ast.parse(path.read_text()))
        if kind in kinds and member not in OF_EVERY_PROBLEM
    }
    assert {(kind, member) for kind, member in given if member not in kinds[kind].members} == set()


def _given(tree: ast.AST) -> Iterator[tuple[str, str | None]]:
    """Kind of problem and member, where one is raised, or where its own `__init__` hands them on."""
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    own = {each.name for each in classes if any(isinstance(part, ast.FunctionDef) for part in each.body)}
    for each in classes:
        for call in ast.walk(each):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "super().__init__":
                yield from ((each.name, keyword.arg) for keyword in call.keywords)
    for call in ast.walk(tree):
        if isinstance(call, ast.Call):
            kind = ast.unparse(call.func).rpartition(".")[2]
            yield from ((kind, keyword.arg) for keyword in call.keywords if kind not in own)
