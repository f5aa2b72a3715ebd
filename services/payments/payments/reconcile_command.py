"""`python -m payments reconcile`: what the sweeps and the daily statement do by the clock, now, told on the terminal.

For whoever has restored a database and wants to know at once where the shop and the provider disagree.
"""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from chassis.clients import InternalClient, UpstreamUnavailable
from chassis.command_line import http_upstreams
from chassis.database import Database
from chassis.jobs import JobOutcome
from chassis.service import client_for
from payments.adoption import Adoption
from payments.daily_statement import Line, Statement, Statements
from payments.postgres_ledger import ledger_of
from payments.provider import Provider, ProviderError
from payments.razorpay_provider import RazorpayProvider
from payments.reconciliation import sweep, sweep_refunds
from payments.refunds import apply_refund
from payments.settings import PaymentsSettings

DAYS = 3
"""So many days are stated, the last of them today."""


async def reconcile_command(settings: PaymentsSettings) -> None:
    """Find what the provider knows better, and say who still differs; exits with 1 while anybody does.

    The relay of the running service publishes what was found.
    """
    upstreams = http_upstreams(settings)
    database, provider = Database(settings), RazorpayProvider(settings)
    await database.start()
    try:
        outcome, statements = await reconcile(database, provider, client_for(settings, upstreams, "orders"))
    except (ProviderError, UpstreamUnavailable) as error:
        sys.exit(f"Not all was answered, repeat it in a moment: {error!r}")
    finally:
        await provider.close()
        await database.stop()
        for upstream in upstreams.values():
            await upstream.close()
    sys.stdout.write(report(outcome, statements))
    if outcome.unresolved or any(statement.differing for statement in statements):
        sys.exit(1)


async def reconcile(
    database: Database, provider: Provider, orders: InternalClient
) -> tuple[JobOutcome, Sequence[Statement]]:
    """Both sweeps, and then the statements of the last days as they would be now.

    Raises ProviderError, UpstreamUnavailable.
    """
    ledger = ledger_of(database)
    adopt = Adoption(ledger, provider=provider, orders=orders).adopt
    payments = await sweep(ledger, provider, adopt=adopt)
    refunds = await sweep_refunds(ledger, provider, apply=apply_refund)
    outcome = JobOutcome(
        found=payments.found + refunds.found,
        repaired=payments.repaired + refunds.repaired,
        unresolved=payments.unresolved + refunds.unresolved,
    )
    today = datetime.now(UTC).date()
    make = Statements(database, provider, orders).make_statement
    return outcome, [await make(today - timedelta(days=back)) for back in reversed(range(DAYS))]


def report(outcome: JobOutcome, statements: Sequence[Statement]) -> str:
    """A line for what was asked, one for each day, and one for whoever differs on it."""
    lines = [
        f"{outcome.found} payments and refunds looked at, {outcome.repaired} taken over, {outcome.unresolved} left"
    ]
    for statement in statements:
        count = len(statement.differing)
        lines.append(f"{statement.day}: {f'{count} differ' if count else 'the shop and the provider agree'}")
        lines += [_told(line) for line in statement.differing]
    return "".join(f"{line}\n" for line in lines)


def _told(line: Line) -> str:
    """Amounts in minor units, as in the statements."""
    order = line.order_id or "of no order"
    status = f"order {order} {line.order_status or 'is not known to orders'}"
    payment = line.provider_payment_id or "nothing"
    amounts = f"captured {line.captured}, refunded {line.refunded}, worth {line.order_total - line.order_refunds}"
    return f"  {payment}  {status}  {amounts} {line.currency}"
