"""docker-compose.yml as data, without an engine: what each container is told, in its environment and in files."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
HAND_OUT = ROOT / "deploy" / "compose" / "hand_out.py"
DEFINITIONS = ROOT / "deploy" / "rabbitmq" / "definitions.json"
_VARIABLE = re.compile(r"\$\{(\w+)(?::-((?:[^{}]|\{[^{}]*\})*))?\}")


@dataclass(frozen=True)
class ComposeFile:
    """The file, with every variable at its default."""

    text: str

    @classmethod
    def read(cls) -> "ComposeFile":
        return cls((ROOT / "docker-compose.yml").read_text())

    @cached_property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = yaml.safe_load(with_defaults(self.text))
        return document

    @property
    def containers(self) -> dict[str, dict[str, Any]]:
        services: dict[str, dict[str, Any]] = self.document["services"]
        return services

    def lasting(self) -> dict[str, dict[str, Any]]:
        """Those that stay, as against those that do one thing and end."""
        return {name: each for name, each in self.containers.items() if each.get("restart") != "no"}

    def ending(self) -> dict[str, dict[str, Any]]:
        return {name: each for name, each in self.containers.items() if each.get("restart") == "no"}

    def environment(self, name: str) -> dict[str, str | None]:
        """None for a variable that is handed through when somebody sets it."""
        environment: dict[str, str | None] = self.containers[name].get("environment", {})
        return environment

    def variables_read(self) -> set[str]:
        """What whoever starts it may set: in ${…}, or handed through."""
        in_braces = set(re.findall(r"\$\{(\w+)", self.text))
        handed_through = {
            variable for name in self.containers for variable, value in self.environment(name).items() if value is None
        }
        return in_braces | handed_through


def with_defaults(text: str) -> str:
    """Innermost first: one default may hold another variable."""
    while _VARIABLE.search(text):
        text = _VARIABLE.sub(lambda found: found[2] or "", text)
    return text


def hand_out(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the program that hands out secrets, as its container does."""
    environment = {
        "PATH": os.environ["PATH"],
        "SECRETS_FOLDER": str(folder),
        "DEFINITIONS": str(DEFINITIONS),
        "SIMULATOR_PUBLIC_URL": "http://localhost:8090",
        **variables,
    }
    (folder / "demo").mkdir(parents=True, exist_ok=True)
    return subprocess.run(
        [sys.executable, str(HAND_OUT), *arguments], env=environment, capture_output=True, text=True, check=False
    )


def files_of(folder: Path) -> dict[str, str]:
    """Name and content of every file in it."""
    return {file.name: file.read_text() for file in folder.iterdir()}


def kid_of(key: str) -> str:
    """The name of a private key."""
    kid: str = json.loads(key)["kid"]
    return kid
