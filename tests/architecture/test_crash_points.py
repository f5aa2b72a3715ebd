"""A crash point that nobody kills at proves nothing: the code and the list of the fault tests name the same ones."""

import ast
from collections.abc import Sequence
from pathlib import Path

from tests.faults.crash_points import PASSED_BY


def test_every_crash_point_in_the_code_is_in_the_list(tracked: Sequence[Path]) -> None:
    named = {
        call.args[0].value if isinstance(call.args[0], ast.Constant) else ast.unparse(call.args[0])
        for path in tracked
        if path.suffix == ".py" and "tests" not in path.parts
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "crash_point"
    }
    assert named == set(PASSED_BY)
