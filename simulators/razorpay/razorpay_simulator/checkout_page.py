"""The HTML of the checkout: what is owed, how to pay it, and what became of it."""

from html import escape
from pathlib import Path

import msgspec
from msgspec import Struct

from razorpay_simulator.instruments import CARDS, TestCard
from razorpay_simulator.records import Order, Payment

_STYLE = Path(__file__).with_name("checkout.css").read_text("utf-8")
_PAYMENT_WORDS = {
    "created": "Waiting for the bank",
    "authorized": "Authorised",
    "captured": "Paid",
    "refunded": "Refunded",
    "failed": "Failed",
}
_ORDER_WORDS = {"created": "Not paid yet", "attempted": "Not paid yet", "paid": "Paid"}


class CheckoutView(Struct, frozen=True, kw_only=True):
    order: Order
    payments: list[Payment]
    callback_url: str
    return_url: str
    query: str

    @property
    def pay_url(self) -> str:
        return f"/simulator/checkout/{self.order.id}/pay{self.query}"

    @property
    def page_url(self) -> str:
        return f"/simulator/checkout/{self.order.id}{self.query}"


def rupees(paise: int) -> str:
    """₹12,34,567.00: the last three digits, then groups of two."""
    whole, rest = divmod(paise, 100)
    digits = str(whole)
    head, tail = digits[:-3], digits[-3:]
    groups: list[str] = []
    while head:
        groups.insert(0, head[-2:])
        head = head[:-2]
    return f"₹{','.join([*groups, tail])}.{rest:02d}"


def checkout(view: CheckoutView, *, problem: str | None = None) -> str:
    order = view.order
    notice = f'<p class="notice bad" role="alert">{escape(problem)}</p>' if problem else ""
    if order.status == "paid":
        body = _outcome("good", "This order is paid", "There is nothing left to pay.") + _way_back(view)
    elif any(payment.status == "authorized" for payment in view.payments):
        body = _outcome(
            "wait",
            "A payment is authorised",
            "The bank has set the money aside. Until the shop captures it, no other payment can start.",
        ) + _way_back(view)
    else:
        body = _payment_form(view)
    return _document(f"Pay {rupees(_due(order))}", _summary(view) + f"<main>{notice}{body}{_history(view)}</main>")


def result(view: CheckoutView, payment: Payment, *, signature: str | None) -> str:
    if payment.status == "failed":
        reason = payment.error.description if payment.error else "The bank did not authorise the payment."
        body = _outcome("bad", "Payment failed", reason) + _again(view)
    elif signature is None:
        body = _outcome(
            "wait",
            "Waiting for the bank",
            "There is no answer yet. It comes when the simulator’s clock is moved on.",
        ) + _again(view)
    else:
        title = "Payment authorised" if payment.status == "authorized" else "Payment successful"
        body = (
            _outcome("good", title, f"{rupees(payment.amount)} by {_instrument(payment)}.")
            + _proof(payment, signature)
            + _way_back(view, proof=_proof_fields(payment, signature))
        )
    return _document(_PAYMENT_WORDS[payment.status], _summary(view) + f"<main>{body}</main>")


def unknown_order() -> str:
    body = _outcome("bad", "No such order", "The link may be incomplete, or the ledger was reset since it was made.")
    return _document("No such order", f"<main class='alone'>{body.replace('h2>', 'h1>')}</main>")


def _document(title: str, body: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="robots" content="noindex"><meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)} · Payment simulator</title><style>{_STYLE}</style></head><body>"
        '<p class="banner"><strong>Payment simulator</strong> '
        "Nothing here is real: no bank is asked, no money moves.</p>"
        f'<div class="sheet">{body}</div></body></html>'
    )


def _summary(view: CheckoutView) -> str:
    order = view.order
    rows = [("Order", order.id, "mono"), ("Status", _ORDER_WORDS[order.status], order.status)]
    if order.receipt:
        rows.insert(1, ("Receipt", order.receipt, "mono"))
    if 0 < order.amount_paid < order.amount:
        rows.append(("Paid so far", rupees(order.amount_paid), ""))
    details = "".join(
        f'<div><dt>{escape(term)}</dt><dd class="{kind}">{escape(text)}</dd></div>' for term, text, kind in rows
    )
    label, amount = ("To pay", _due(order)) if order.status != "paid" else ("Paid", order.amount)
    return (
        f'<header><p class="label">{label}</p><h1>{rupees(amount)}</h1>'
        f'<p class="currency">Indian rupees</p><dl>{details}</dl></header>'
    )


def _payment_form(view: CheckoutView) -> str:
    amount = rupees(_due(view.order))
    return f"""
<form method="post" action="{escape(view.pay_url)}">
  <h2>How would you like to pay?</h2>
  <fieldset class="methods"><legend class="hidden">Payment method</legend>
    <label><input type="radio" name="method" value="upi" id="by-upi" checked>
      <span><b>UPI</b> Any UPI app</span></label>
    <label><input type="radio" name="method" value="card" id="by-card">
      <span><b>Card</b> Credit or debit</span></label>
  </fieldset>
  <div class="field upi"><label for="vpa">UPI ID</label>
    <select id="vpa" name="vpa">
      <option value="success@razorpay">success@razorpay: succeeds</option>
      <option value="failure@razorpay">failure@razorpay: fails</option>
    </select></div>
  <div class="field card"><label for="card">Test card</label>
    <select id="card" name="card_number">{_card_options()}</select></div>
  <button class="primary" type="submit">Pay {amount}</button>
  <button type="submit" name="outcome" value="failure">Let this payment fail</button>
  <details><summary>Less common endings</summary>
    <button type="submit" name="outcome" value="late">The bank answers late</button>
    <p>Fails after ten virtual minutes, then is authorised after fifteen.</p>
    <button type="submit" name="outcome" value="authorize_only">Authorise without capture</button>
    <p>The shop has to capture it, or the money goes back by itself.</p>
  </details>
</form>"""


def _card_options() -> str:
    good = "".join(_card_option(card) for card in CARDS.values() if card.failure is None)
    bad = "".join(_card_option(card) for card in CARDS.values() if card.failure is not None)
    return f'<optgroup label="Succeed">{good}</optgroup><optgroup label="Fail">{bad}</optgroup>'


def _card_option(card: TestCard) -> str:
    return f'<option value="{card.number}">{_spaced(card.number)}: {escape(card.label)}</option>'


def _spaced(number: str) -> str:
    return " ".join(number[start : start + 4] for start in range(0, len(number), 4))


def _outcome(kind: str, title: str, text: str) -> str:
    sign = {"good": "✓", "bad": "✕", "wait": "…"}[kind]
    return (
        f'<section class="outcome {kind}" role="status"><span class="sign" aria-hidden="true">{sign}</span>'
        f"<h2>{escape(title)}</h2><p>{escape(text)}</p></section>"
    )


def _proof_fields(payment: Payment, signature: str) -> dict[str, str]:
    return {
        "razorpay_payment_id": payment.id,
        "razorpay_order_id": payment.order_id,
        "razorpay_signature": signature,
    }


def _proof(payment: Payment, signature: str) -> str:
    document = msgspec.json.format(msgspec.json.encode(_proof_fields(payment, signature)), indent=2).decode()
    return (
        f'<dl class="proof"><div><dt>Payment</dt><dd class="mono">{payment.id}</dd></div>'
        f'<div><dt>Order</dt><dd class="mono">{payment.order_id}</dd></div>'
        f'<div><dt>Signature</dt><dd class="mono">{signature}</dd></div></dl>'
        "<details><summary>As JSON, for the shop’s verify call</summary>"
        f"<pre tabindex='0'>{escape(document)}</pre></details>"
    )


def _way_back(view: CheckoutView, *, proof: dict[str, str] | None = None) -> str:
    """Razorpay posts the proof to the callback URL; a plain return address is just a link."""
    if view.callback_url and proof:
        fields = "".join(f'<input type="hidden" name="{name}" value="{value}">' for name, value in proof.items())
        return (
            f'<form method="post" action="{escape(view.callback_url)}">{fields}'
            '<button class="primary" type="submit">Back to the shop</button></form>'
        )
    if view.return_url:
        return f'<a class="button primary" href="{escape(view.return_url)}">Back to the shop</a>'
    return '<p class="quiet">You can close this page. The shop is told by webhook.</p>'


def _again(view: CheckoutView) -> str:
    return f'<a class="button primary" href="{escape(view.page_url)}">Back to the checkout</a>'


def _history(view: CheckoutView) -> str:
    if not view.payments:
        return ""
    rows = "".join(
        f'<li><span>{escape(_instrument(payment))}</span><span class="state {payment.status}">'
        f"{_PAYMENT_WORDS[payment.status]}</span><code>{payment.id}</code></li>"
        for payment in reversed(view.payments)
    )
    return f'<section class="history"><h2>Attempts on this order</h2><ul>{rows}</ul></section>'


def _instrument(payment: Payment) -> str:
    if payment.card:
        return f"{payment.card.network} card ending in {payment.card.last4}"
    return f"UPI, {payment.vpa}"


def _due(order: Order) -> int:
    return order.amount - order.amount_paid
