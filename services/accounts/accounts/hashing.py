"""Passwords become argon2id hashes, on a few threads and never on the event loop.

A hash costs about 30 ms of CPU on purpose. Without a bound, a flood of sign-ins would hold up everything else; with
it, those beyond the queue are told to come back.
"""

import asyncio
import base64
import secrets
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import Type

from accounts.errors import SignInBusy

MEMORY_KIB = 19_456
TIME_COST = 2
PARALLELISM = 1

Result = TypeVar("Result")


class PasswordHashing:
    """A bounded pool that hashes and verifies passwords."""

    def __init__(self, *, threads: int, queue: int, time_cost: int = TIME_COST) -> None:
        self._argon2 = PasswordHasher(
            time_cost=time_cost, memory_cost=MEMORY_KIB, parallelism=PARALLELISM, type=Type.ID
        )
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="argon2")
        self._room = threads + queue
        self._nobody = _hash_of_nobody(time_cost)

    async def hash(self, password: str) -> str:
        """The hash to store. Raises SignInBusy."""
        return await self._run(lambda: self._argon2.hash(_normal(password)))

    async def verify(self, password: str, stored: str | None) -> bool:
        """Whether the password is the one that was hashed. None, for nobody's, takes as long and is never right."""
        return await self._run(lambda: self._matches(password, stored or self._nobody))

    def is_outdated(self, stored: str) -> bool:
        """Whether the hash was made with other parameters than today's."""
        return self._argon2.check_needs_rehash(stored)

    def close(self) -> None:
        """Let the threads go; nobody waits for what is still queued."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _matches(self, password: str, stored: str) -> bool:
        try:
            return self._argon2.verify(stored, _normal(password))
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], Result]) -> Result:
        if self._room <= 0:
            raise SignInBusy
        self._room -= 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._room += 1


def _normal(password: str) -> str:
    """One form for what different keyboards compose differently (NIST SP 800-63B §3.1.1.2)."""
    return unicodedata.normalize("NFKC", password)


def _hash_of_nobody(time_cost: int) -> str:
    """A hash with today's parameters that no password has, so that an unknown e-mail costs what a known one does."""
    salt, digest = (base64.b64encode(secrets.token_bytes(size)).decode().rstrip("=") for size in (16, 32))
    return f"$argon2id$v=19$m={MEMORY_KIB},t={time_cost},p={PARALLELISM}${salt}${digest}"
