"""Which public answers are kept, for how long, and what makes an end of them; decided without a socket."""

from collections.abc import Callable
from typing import Any

import pytest

from chassis.testing import Keys
from gateway.cache_control import lifetime_of
from gateway.cached_reads import MAX_JOINS
from gateway.headers import AnswerHead, Headers
from gateway.limits import Allowance
from gateway.policy import Policy
from gateway.routes import LimitClass
from gateway.steps import Failure, Forward, Join, Keep, Plan, Refuse, Serve
from gateway.testing_policy import LASTING, PRODUCTS, answer, ask, confirm, fail, said

FIRST, SECOND = "01990000-0000-7000-8000-000000000001", "01990000-0000-7000-8000-000000000002"
MIB = 1024 * 1024


@pytest.fixture
def policy(policy_factory: Callable[..., Policy]) -> Policy:
    return policy_factory(cache_size=MIB)


def status_of(step: Any) -> str:
    headers: Headers = step.head.headers
    return dict(headers)[b"cache-status"].decode()


def test_the_second_reader_is_answered_without_the_service(policy: Policy) -> None:
    first = ask(policy)
    assert isinstance(first, Forward)
    fresh = answer(policy, first.plan, b'{"items": []}', now=1.0)
    assert (fresh.body, status_of(fresh)) == (b'{"items": []}', "haat; fwd=uri-miss; stored")
    second = ask(policy, now=11.0)
    assert isinstance(second, Serve)
    assert second.body == b'{"items": []}'
    assert status_of(second) == "haat; hit; ttl=20"
    headers = dict(second.head.headers)
    assert (headers[b"age"], headers[b"etag"], headers[b"content-type"]) == (b"10", b'"1"', b"application/json")
    assert isinstance(ask(policy, PRODUCTS + "?cursor=a", now=11.0), Forward), "another question"


def test_a_reader_who_holds_the_version_is_told_so(policy: Policy) -> None:
    known = answer(policy, ask(policy, if_none_match='"1"').plan, b'{"items": []}')
    assert (known.head.status, known.body) == (304, b""), "the first one too, though the service is asked for the whole"
    for tags in ('"1"', 'W/"1"', '"0", "1"', "*"):
        step = ask(policy, if_none_match=tags)
        assert (step.head.status, step.body) == (304, b"")
        assert {b"content-length", b"content-type"}.isdisjoint(dict(step.head.headers))
    assert ask(policy, if_none_match='"2"').head.status == 200
    head = ask(policy, method="HEAD")
    assert (head.head.status, head.body, dict(head.head.headers)[b"content-length"]) == (200, b"", b"13")


@pytest.mark.parametrize(
    "unwilling",
    [
        {"control": "max-age=30"},
        {"control": "public"},
        {"control": "public, max-age=0"},
        {"control": "public, max-age=soon"},
        {"control": "public, max-age=30, no-store"},
        {"control": 'public, max-age=30, no-cache="etag"'},
        {"control": "private, max-age=30"},
        {"control": ""},
        {"vary": "accept-language"},
        {"set_cookie": "cart_token=x"},
        {"x_cart_token": "x"},
    ],
    ids=str,
)
def test_what_is_not_plainly_for_everybody_is_not_kept(policy: Policy, unwilling: dict[str, str]) -> None:
    assert isinstance(answer(policy, ask(policy).plan, headers=said(**unwilling)), AnswerHead)
    again = ask(policy)
    assert isinstance(again, Forward)
    assert isinstance(ask(policy), Forward), "and nobody waits for it"


def test_shared_lifetimes_go_first() -> None:
    assert lifetime_of([(b"cache-control", b"public, max-age=30, S-MaxAge=5")]) == (5, 5, 5)
    both = [(b"cache-control", b"public"), (b"cache-control", b'max-age="7", stale-while-revalidate=3')]
    assert lifetime_of(both) == (7, 10, 10)


@pytest.mark.parametrize(("status", "length"), [(404, 2), (500, 2), (206, 2), (200, None), (200, 256 * 1024 + 1)])
def test_only_whole_good_answers_of_a_known_size_are_kept(policy: Policy, status: int, length: int | None) -> None:
    plan = ask(policy).plan
    more = [] if length is None else [(b"content-length", str(length).encode())]
    head = policy.on_response(plan, status, said() + more, 0.0)
    assert isinstance(head, AnswerHead)
    assert head.status == status
    assert isinstance(ask(policy), Forward)


def test_staff_neither_get_nor_leave_an_answer(keys: Keys, policy: Policy) -> None:
    staff = f"Bearer {keys.access_token(role='staff')}"
    own = answer(policy, ask(policy, authorization=staff).plan)
    assert isinstance(own, AnswerHead)
    public = ask(policy)
    assert isinstance(public, Forward), "what staff saw was not kept"
    answer(policy, public.plan)
    assert isinstance(ask(policy), Serve)
    assert isinstance(ask(policy, authorization=staff), Forward), "nor does what the public sees reach them"
    customer = ask(policy, authorization=f"Bearer {keys.access_token()}")
    assert isinstance(customer, Serve)


def test_a_stored_answer_is_no_way_around_tokens_and_limits(keys: Keys, policy_factory: Callable[..., Policy]) -> None:
    policy = policy_factory(cache_size=MIB, allowances={LimitClass.READ: Allowance(3, 60)})
    answer(policy, ask(policy).plan)
    assert ask(policy, authorization="Bearer forged").problem.code == "token_invalid"
    assert isinstance(ask(policy), Serve)
    last = ask(policy)
    assert dict(last.head.headers)[b"ratelimit-remaining"] == b"0"
    assert ask(policy).problem.code == "too_many_requests"


def test_an_old_answer_is_given_once_more_while_it_is_confirmed(policy: Policy) -> None:
    answer(policy, ask(policy).plan, b'{"a": 1}')
    old = ask(policy, now=31.0)
    assert (old.body, status_of(old)) == (b'{"a": 1}', "haat; hit; ttl=-1")
    assert dict(old.refresh.headers)[b"if-none-match"] == b'"1"'
    assert ask(policy, now=32.0).refresh is None, "one question is enough"
    confirm(policy, old.refresh, now=33.0)
    assert status_of(ask(policy, now=34.0)) == "haat; hit; ttl=29"


def test_an_answer_too_old_to_be_given_is_confirmed_first(policy: Policy) -> None:
    answer(policy, ask(policy).plan, b'{"a": 1}')
    step = ask(policy, now=91.0, if_none_match='"0"')
    assert isinstance(step, Forward)
    assert dict(step.plan.headers)[b"if-none-match"] == b'"1"', "ours, not the client's"
    served = confirm(policy, step.plan, now=92.0)
    assert (served.head.status, served.body) == (200, b'{"a": 1}')
    assert status_of(served) == "haat; fwd=stale; fwd-status=304; stored"
    assert dict(served.head.headers)[b"age"] == b"0"


def test_an_answer_that_ceased_to_exist_is_not_given_again(policy: Policy) -> None:
    answer(policy, ask(policy).plan)
    refresh = ask(policy, now=31.0).refresh
    policy.on_response(refresh, 404, said("no-store"), 31.0)
    assert isinstance(ask(policy, now=31.0), Forward)


def test_a_service_in_trouble_takes_no_answer_away(policy: Policy) -> None:
    answer(policy, ask(policy).plan)
    refresh = ask(policy, now=31.0).refresh
    policy.on_response(refresh, 503, [], 31.0)
    policy.reads.on_over(refresh)
    again = ask(policy, now=32.0)
    assert isinstance(again, Serve)
    assert again.refresh is not None
    policy.reads.on_over(again.refresh)
    assert isinstance(ask(policy, now=91.0), Forward)


FAILURES = [Failure.UNREACHABLE, Failure.BROKEN, Failure.TIMED_OUT, "500", "503", "full"]


@pytest.mark.parametrize("failure", FAILURES)
def test_without_its_service_an_answer_of_before_is_better_than_none(policy: Policy, failure: Any) -> None:
    answer(policy, ask(policy).plan, b'{"a": 1}', headers=said(LASTING))
    plan = ask(policy, now=91.0, if_none_match='"0"').plan
    assert plan.read is not None
    policy.reads.on_over(plan)

    served = fail(policy, plan, failure, now=91.0)
    assert (served.head.status, served.body) == (200, b'{"a": 1}')
    assert status_of(served) == "haat; hit; ttl=-61; detail=stale-if-error"
    assert served.context.cache == "spare"
    later = ask(policy, now=331.0)
    assert not isinstance(fail(policy, later.plan, failure, now=331.0), Serve), "not for ever"


def test_an_answer_that_ended_meanwhile_is_none(policy: Policy) -> None:
    answer(policy, ask(policy).plan, f'{{"id":"{FIRST}"}}'.encode(), headers=said(LASTING))
    plan = ask(policy, now=91.0).plan
    policy.reads.cache.forget(FIRST.encode())
    assert isinstance(fail(policy, plan, Failure.TIMED_OUT, now=91.0), Refuse)


def test_who_insists_on_the_service_hears_of_its_trouble(policy: Policy) -> None:
    answer(policy, ask(policy).plan, headers=said(LASTING))
    plan = ask(policy, now=31.0, cache_control="no-cache").plan
    assert isinstance(fail(policy, plan, Failure.TIMED_OUT, now=31.0), Refuse)


def test_a_sale_ends_the_answers_that_name_the_product(policy: Policy) -> None:
    bodies = {"/1": f'{{"id":"{FIRST}"}}', "/2": f'{{"id":"{SECOND}"}}', "": f'[{{"id":"{FIRST}"}},"{SECOND}"]'}
    for path, body in bodies.items():
        answer(policy, ask(policy, PRODUCTS + path).plan, body.encode())
    policy.reads.cache.forget(FIRST.encode())
    assert {path: type(ask(policy, PRODUCTS + path)) for path in bodies} == {"/1": Forward, "/2": Serve, "": Forward}


@pytest.mark.parametrize("change", ["forget", "forget_all"])
def test_an_answer_overtaken_by_a_change_is_given_and_not_kept(policy: Policy, change: str) -> None:
    step = ask(policy)
    cache = policy.reads.cache
    if change == "forget":
        cache.forget(FIRST.encode())
    else:
        cache.forget_all()
    served = answer(policy, step.plan, f'{{"id":"{FIRST}"}}'.encode())
    assert (served.head.status, status_of(served)) == (200, "haat; fwd=uri-miss")
    assert isinstance(ask(policy), Forward)


def test_a_confirmation_overtaken_by_a_change_is_not_believed(policy: Policy) -> None:
    answer(policy, ask(policy).plan, f'{{"id":"{FIRST}"}}'.encode())
    refresh: Plan = ask(policy, now=31.0).refresh
    policy.reads.cache.forget(FIRST.encode())
    confirm(policy, refresh, now=32.0)
    assert isinstance(ask(policy, now=33.0), Forward)


@pytest.mark.parametrize(("status", "is_kept"), [(201, False), (204, False), (412, True), (500, True)])
def test_a_write_ends_every_answer_when_it_succeeds(keys: Keys, policy: Policy, status: int, is_kept: bool) -> None:
    answer(policy, ask(policy).plan)
    staff = f"Bearer {keys.access_token(role='staff')}"
    write = ask(policy, "/api/v1/inventory/1/adjustments", method="POST", authorization=staff, content_length="2")
    policy.on_response(write.plan, status, [], 0.0)
    assert isinstance(ask(policy), Serve if is_kept else Forward)


def test_a_client_may_insist_on_the_service(policy: Policy) -> None:
    answer(policy, ask(policy).plan, headers=said(tag='"1"'))
    for wish in ("no-cache", "max-age=0", "No-Cache, foo=1"):
        step = ask(policy, cache_control=wish, if_none_match='"9"')
        assert isinstance(step, Forward)
        answer(policy, step.plan, headers=said(tag='"2"'))
    assert dict(ask(policy).head.headers)[b"etag"] == b'"2"', "what it got serves the others"
    unkept = ask(policy, PRODUCTS + "?a=b", cache_control="no-store", if_none_match='"9"')
    assert dict(unkept.plan.headers)[b"if-none-match"] == b'"9"'
    assert isinstance(answer(policy, unkept.plan), AnswerHead)
    assert isinstance(ask(policy, max_age="5"), Serve)


def test_who_asks_for_everybody_says_nothing_of_its_own(keys: Keys, policy: Policy) -> None:
    customer = f"Bearer {keys.access_token()}"
    trace: dict[str, Any] = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "tracestate": "a=b"}
    own: dict[str, Any] = {
        "accept": "text/html",
        "accept_language": "hi",
        "content_type": "text/xml",
        "idempotency_key": "mine",
        "if_match": '"9"',
        "if_modified_since": "Sat, 28 Nov 2026 10:00:00 GMT",
        "user_agent": "mine",
        "x_cart_token": "mine",
    }
    step = ask(policy, authorization=customer, **trace, **own)
    said_to_catalog = {name for name, _ in step.plan.headers}
    ids = {b"traceparent", b"tracestate", b"x-request-id", b"x-client-address"}
    assert said_to_catalog == ids | {b"authorization"}, "nothing that could change an answer which others get"
    answer(policy, step.plan)
    assert isinstance(ask(policy), Serve)
    alone = ask(policy, cache_control="no-store", accept="text/html")
    assert dict(alone.plan.headers)[b"accept"] == b"text/html"


@pytest.mark.parametrize(
    ("control", "is_kept"), [(None, True), ("public, max-age=30", True), ("no-store", False), ("private", False)]
)
def test_a_confirmation_reaches_a_reader_who_holds_nothing_as_the_whole_answer(
    policy: Policy, control: str | None, is_kept: bool
) -> None:
    answer(policy, ask(policy).plan, b'{"a": 1}')
    plan = ask(policy, now=91.0).plan
    headers: Headers = [(b"etag", b'"1"')] + ([(b"cache-control", control.encode())] if control else [])
    step = policy.on_response(plan, 304, headers, 91.0)
    assert isinstance(step, Keep), "the 304 is for our question, not for the reader's"
    served = policy.on_answer(plan, step, b"", 91.0)
    assert (served.head.status, served.body) == (200, b'{"a": 1}')
    assert dict(served.head.headers)[b"content-length"] == b"8"
    assert isinstance(ask(policy, now=92.0), Serve if is_kept else Forward)


def test_one_question_is_asked_for_all_who_have_it(policy: Policy) -> None:
    first, second = ask(policy), ask(policy)
    assert isinstance(first, Forward)
    assert isinstance(second, Join)
    woken: list[str] = []
    second.fill.on_over.append(lambda: woken.append("second"))
    answer(policy, first.plan, b'{"a": 1}')
    assert woken == ["second"]
    served = policy.reads.on_joined(second, 0.0)
    assert isinstance(served, Serve)
    assert (served.body, served.context.cache) == (b'{"a": 1}', "joined")


def test_a_crowd_that_insists_is_answered_by_what_was_asked_after_it_came(policy: Policy) -> None:
    first, second, third = (ask(policy, cache_control="no-cache", now=moment) for moment in (1.0, 1.1, 1.2))
    answer(policy, first.plan, b'{"a": 1}', now=2.0)
    second = policy.reads.on_joined(second, 2.0)
    assert isinstance(second, Forward), "what was on its way already may be older than the wish"
    third = policy.reads.on_joined(third, 2.1)
    assert isinstance(third, Join), "what is asked now is not"
    answer(policy, second.plan, b'{"a": 2}', now=3.0)
    served = policy.reads.on_joined(third, 3.0)
    assert isinstance(served, Serve)
    assert served.body == b'{"a": 2}'


def test_who_waited_in_vain_asks_in_the_end(policy: Policy) -> None:
    asking, patient = ask(policy), ask(policy)
    for _ in range(MAX_JOINS):
        assert isinstance(patient, Join)
        next_one = ask(policy)
        policy.reads.on_over(asking.plan)
        asking = policy.reads.on_joined(next_one, 0.0)
        assert isinstance(asking, Forward), "the first to come asks now"
        patient = policy.reads.on_joined(patient, 0.0)
    assert isinstance(patient, Forward), "not for ever"
    assert isinstance(policy.on_response(patient.plan, 200, said(content_length="2"), 0.0), AnswerHead)


def test_who_waited_too_long_asks_too(policy: Policy) -> None:
    _, impatient = ask(policy), ask(policy)
    assert isinstance(policy.reads.on_joined(impatient, 1.0), Forward)


def test_the_least_used_answers_make_room(policy_factory: Callable[..., Policy]) -> None:
    policy = policy_factory(cache_size=10 * 1024)
    pages = [f"{PRODUCTS}?page={number}" for number in range(4)]
    for page in pages:
        answer(policy, ask(policy, page).plan, b"x" * 2000)
        assert policy.reads.cache.size <= 10 * 1024
        ask(policy, pages[0])
    assert [type(ask(policy, page)) for page in pages] == [Serve, Forward, Serve, Serve]


def test_without_room_nothing_is_kept(policy_factory: Callable[..., Policy]) -> None:
    policy = policy_factory(cache_size=0)
    step = ask(policy, if_none_match='"1"')
    assert dict(step.plan.headers)[b"if-none-match"] == b'"1"'
    assert isinstance(policy.on_response(step.plan, 304, said(), 0.0), AnswerHead)
    assert isinstance(ask(policy), Forward)
