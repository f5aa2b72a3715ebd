"""Wrong answers to API calls: some come instead of the work, some hide work that was done."""

from razorpay_simulator.errors import ProviderRefusal, ServerTrouble
from razorpay_simulator.faults import Fault
from razorpay_simulator.wire import Answer, Request, refusal_answer

_BAD_GATEWAY_PAGE = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n"
    b"<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n</body>\r\n</html>\r\n"
)
_COMMITTED_BY_DEFAULT = {"fail_after_commit", "reset", "truncate", "trickle", "null_error"}


def instead_of_answer(fault: Fault, request: Request) -> Answer | None:
    """The answer of a call whose work is never begun, or None when it is to be done."""
    if fault.action in ("delay", "delay_answer", "webhook_first", "trickle", "truncate"):
        return None
    if fault.action == "fail_before_commit":
        return _wrong_answer(fault, request)
    committed = fault.committed
    if committed is None:
        committed = fault.action in _COMMITTED_BY_DEFAULT
    return None if committed else _wrong_answer(fault, request)


def spoil(answer: Answer, fault: Fault, request: Request) -> Answer:
    """What the caller gets to see of work that was done."""
    if fault.action in ("delay", "delay_answer", "webhook_first"):
        return answer
    if fault.action == "truncate":
        answer.ending = "truncate"
        return answer
    if fault.action == "trickle":
        answer.ending, answer.seconds = "trickle", fault.seconds
        return answer
    return _wrong_answer(fault, request)


def _wrong_answer(fault: Fault, request: Request) -> Answer:
    trouble = ServerTrouble()
    trouble.status = fault.status or trouble.status
    answer = refusal_answer(trouble)
    match fault.action:
        case "reset":
            answer = Answer(status=0, ending="reset")
        case "html":
            answer = Answer(status=fault.status or 502, body=_BAD_GATEWAY_PAGE, media_type="text/html")
        case "rate_limit":
            answer = refusal_answer(ProviderRefusal(fault.description or "Too many requests", status=429))
        case "rate_limit_empty":
            answer = Answer(status=429)
        case "null_error":
            answer = Answer(status=fault.status or 500, body=b'{"error": null}')
        case "redirect":
            answer = Answer(status=fault.status or 302, headers={"location": request.path})
        case "refuse":
            refused = ProviderRefusal(fault.description or "Refused", status=fault.status or 400)
            answer = refusal_answer(refused)
    return answer
