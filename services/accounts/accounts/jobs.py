"""What accounts does by the clock."""

from accounts.sessions import forget_over
from accounts.throttling import forget_old_attempts
from accounts.tokens import TokenIssuer
from chassis.database import Database
from chassis.jobs import Job, JobOutcome

HOURLY = 3_600.0


def jobs(issuer: TokenIssuer) -> tuple[Job, ...]:
    """Job → period → process."""

    async def forget_sessions(database: Database) -> JobOutcome:
        total = 0
        while True:
            async with database.transaction() as session:
                count = await forget_over(session, issuer=issuer)
            total += count
            if not count:
                return JobOutcome(found=total, repaired=total)

    async def forget_attempts(database: Database) -> JobOutcome:
        async with database.transaction() as session:
            count = await forget_old_attempts(session)
        return JobOutcome(found=count, repaired=count)

    return (
        Job(name="forget-sessions", every=HOURLY, run=forget_sessions),
        Job(name="forget-attempts", every=HOURLY, run=forget_attempts),
    )
