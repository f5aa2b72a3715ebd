"""Readers, changes and their news in any order: what is kept never outlives what the gateway has heard."""

from dataclasses import dataclass
from typing import Any

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from chassis.auth import KeySet, TokenVerifier
from chassis.testing import Keys
from gateway.addresses import ClientAddresses
from gateway.cache import Cache
from gateway.cached_reads import CachedReads
from gateway.limits import Allowance, Limits
from gateway.origins import Origins
from gateway.policy import Doorway, Policy
from gateway.revocations import Revocations
from gateway.routes import RouteTable
from gateway.steps import Failure, Forward, Join, Plan, Serve
from gateway.testing_policy import LASTING, PRODUCTS, answer, ask, confirm, fail, said


@dataclass
class Asked:
    """A request that is not over, and what the service has read for it."""

    step: Any
    plan: Plan | None
    things: frozenset[int]
    body: bytes
    wanted: list[int]
    """The versions that this reader wants at least."""


PAGES = [frozenset({0}), frozenset({0, 1})]


class NothingOlderThanItsChange(RuleBasedStateMachine):
    """Readers, a catalogue that changes, and its events, in any order: no answer from the cache is older than an event,
    nor than the wish of a reader who wants it fresh.

    The catalogue has two things with a version each; a page names one of them or both. An answer is read from it at
    one moment and arrives at another.
    """

    plans = Bundle("plans")

    def __init__(self) -> None:
        super().__init__()
        keys = Keys()
        revocations = Revocations()
        revocations.is_loaded = True
        routes = RouteTable()
        self.cache = Cache(6 * 1024)
        self.policy = Policy(
            doorway=Doorway(frozenset({"localhost"}), Origins(()), ClientAddresses(())),
            routes=routes,
            tokens=TokenVerifier(KeySet(document=keys.user_jwks), issuer="haat", audience="haat"),
            revocations=revocations,
            limits=Limits({}, bad_tokens=Allowance(1000, 60)),
            guards={},
            reads=CachedReads(self.cache, routes.routes),
        )
        self.now = 0.0
        self.truth = [0, 0]
        self.told = [0, 0]
        """The versions of which the events have been heard."""

    def _id(self, thing: int) -> str:
        return f"01990000-0000-7000-8000-00000000000{thing}"

    def _page(self, things: frozenset[int]) -> str:
        return PRODUCTS + "?things=" + "".join(str(thing) for thing in sorted(things))

    def _read(self, things: frozenset[int]) -> bytes:
        rows = [f'{{"id":"{self._id(thing)}","version":{self.truth[thing]}}}' for thing in sorted(things)]
        return ("[" + ",".join(rows) + "]").encode()

    def _check(self, step: Any, things: frozenset[int], wanted: list[int]) -> None:
        if isinstance(step, Serve):
            for thing in things:
                shown = int(step.body.split(self._id(thing).encode())[1].split(b":")[1].split(b"}")[0])
                assert shown >= self.told[thing], "older than an event that was heard"
                assert shown >= wanted[thing], "older than the wish to have it fresh"

    @rule(target=plans, things=st.sampled_from(PAGES), wish=st.sampled_from(["", "", "no-cache"]))
    def read(self, things: frozenset[int], wish: str) -> Asked:
        wishes = {"cache_control": wish} if wish else {}
        wanted = list(self.truth) if wish else [0, 0]
        self.now += 0.001
        return self._asked(ask(self.policy, self._page(things), now=self.now, **wishes), things, wanted)

    def _asked(self, step: Any, things: frozenset[int], wanted: list[int]) -> Asked:
        self._check(step, things, wanted)
        plan = step.plan if isinstance(step, Forward) else step.refresh if isinstance(step, Serve) else None
        return Asked(step, plan, things, self._read(things), wanted)

    @rule(asked=plans)
    def the_service_reads_later(self, asked: Asked) -> None:
        asked.body = self._read(asked.things)

    @rule(target=plans, asked=consumes(plans))
    def the_answer_arrives(self, asked: Asked) -> Any:
        plan, body = asked.plan, asked.body
        self.now += 0.001
        if isinstance(asked.step, Join):
            return self._asked(self.policy.reads.on_joined(asked.step, self.now), asked.things, asked.wanted)
        if plan is not None:
            tag = f'"{hash(body)}"'
            if dict(plan.headers).get(b"if-none-match") == tag.encode():
                confirm(self.policy, plan, now=self.now, tag=tag)
            else:
                answer(self.policy, plan, body, now=self.now, headers=said(LASTING, tag=tag))
        if plan is not None:
            self.policy.reads.on_over(plan)
        return multiple()

    @rule(asked=consumes(plans), failure=st.sampled_from([Failure.TIMED_OUT, "503"]))
    def the_service_fails(self, asked: Asked, failure: Any) -> None:
        if asked.plan is not None:
            self._check(fail(self.policy, asked.plan, failure, now=self.now), asked.things, asked.wanted)
            self.policy.reads.on_over(asked.plan)

    @rule(thing=st.sampled_from([0, 1]), is_heard=st.sampled_from([True, True, False]))
    def change(self, thing: int, is_heard: bool) -> None:
        self.truth[thing] += 1
        if is_heard:
            self.hear(thing)

    @rule(thing=st.sampled_from([0, 1]))
    def hear(self, thing: int) -> None:
        self.told[thing] = self.truth[thing]
        self.cache.forget(self._id(thing).encode())

    @rule()
    def connect_again(self) -> None:
        self.told = list(self.truth)
        self.cache.forget_all()

    @rule(seconds=st.sampled_from([1.0, 31.0, 100.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def the_books_add_up(self) -> None:
        assert 0 <= self.cache.size <= self.cache.capacity
        assert (self.cache.size == 0) == (len(self.cache) == 0)


NothingOlderThanItsChange.TestCase.settings = hypothesis_settings(
    max_examples=150, stateful_step_count=40, deadline=None
)
TestNothingOlderThanItsChange = NothingOlderThanItsChange.TestCase
