"""A reader can hold one file and one function in mind. Beyond that a thing wants to be two."""

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

FILE_LINES = 450
FUNCTION_LINES = 60
CHASSIS_LINES_OF_CODE = 2_460
MESSAGING_LINES_OF_CODE = 1_860
OBSERVING_LINES_OF_CODE = 550
MESSAGING = ("event", "outbox", "inbox", "inprocess", "queue_store", "rabbitmq", "job", "locks", "operations")
"""How the names of the chassis' modules for events begin; what Haat exists for has a budget of its own."""
OBSERVING = ("telemetry", "request_telemetry", "tracing", "traces", "status")
"""The same for what operators see."""


def test_no_file_is_too_long(root: Path, tracked: Sequence[Path]) -> None:
    too_long = {
        str(path.relative_to(root)): lines
        for path in _python(tracked)
        if (lines := len(path.read_text().splitlines())) > FILE_LINES
    }
    assert not too_long, f"Files above {FILE_LINES} lines: {too_long}"


def test_no_function_is_too_long(root: Path, tracked: Sequence[Path]) -> None:
    too_long = {
        f"{path.relative_to(root)}:{function.lineno} {function.name}": lines
        for path in _python(tracked)
        for function in _functions(path)
        if (lines := (function.end_lineno or function.lineno) - function.lineno + 1) > FUNCTION_LINES
    }
    assert not too_long, f"Functions above {FUNCTION_LINES} lines: {too_long}"


def test_the_chassis_stays_small(root: Path, tracked: Sequence[Path]) -> None:
    """Counted without the test kit, blank lines, comments and docstrings: explaining it must cost nothing."""
    chassis = root / "chassis" / "chassis"
    lines = {
        path.stem: _lines_of_code(path)
        for path in _python(tracked)
        if path.is_relative_to(chassis) and "testing" not in path.name
    }
    messaging = sum(count for name, count in lines.items() if name.startswith(MESSAGING))
    assert messaging <= MESSAGING_LINES_OF_CODE, f"Messaging has {messaging} lines of code"
    observing = sum(count for name, count in lines.items() if name.startswith(OBSERVING))
    assert observing <= OBSERVING_LINES_OF_CODE, f"What operators see has {observing} lines of code"
    rest = sum(lines.values()) - messaging - observing
    assert rest <= CHASSIS_LINES_OF_CODE, f"The rest of the chassis has {rest} lines of code"


def _python(paths: Sequence[Path]) -> list[Path]:
    return [path for path in paths if path.suffix == ".py" and "migrations" not in path.parts]


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _lines_of_code(path: Path) -> int:
    source = path.read_text()
    written = {
        number
        for number, line in enumerate(source.splitlines(), start=1)
        if line.strip() and not line.strip().startswith("#")
    }
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            written -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(written)
