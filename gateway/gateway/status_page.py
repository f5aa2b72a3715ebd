"""The overview of the shop as a page for staff: numbers in one table, what wants a person above it, jobs below.

A browser cannot bring a token when it opens an address, so without one the page asks to sign in: its script keeps the
token in memory, and asks for the page anew every few seconds.
"""

from collections.abc import Iterable
from datetime import datetime
from html import escape
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from chassis.auth import Principal
from chassis.problems import RoleRequired, TokenMissing
from gateway.layout import page
from gateway.status import Overview

SIGN_IN = """
<p>How every part of the shop stands, for staff.</p>
<form id="sign-in"><label>E-mail <input name="email" type="email" autocomplete="username" required></label>
<label>Password <input name="password" type="password" autocomplete="current-password" required></label>
<button>Sign in</button><p class="refusal" role="alert"></p></form>
<noscript><p>This page needs its script to sign in. Without it:
<code>curl -H "Authorization: Bearer …" -H "Accept: text/html" /status</code></p></noscript>
<script src="/docs/status.js"></script>"""


async def answer(request: Request, principal: Principal | None, overview: Overview) -> Response:
    """The overview as JSON, or as a page when the client prefers one. Raises TokenMissing and RoleRequired."""
    is_page = "text/html" in request.headers.get("accept", "")
    if principal is None and is_page:
        return page("Status", SIGN_IN, kind="text status", status=401, cache="no-store")
    if principal is None:
        raise TokenMissing("Sign in as staff and send the access token as a Bearer token.")
    if not principal.is_staff:
        raise RoleRequired("This page is for staff.")
    told = await overview.read()
    if is_page:
        return page("Status", _body(told), kind="text status", cache="no-store")
    return Response(msgspec.json.encode(told), media_type="application/json", headers={"cache-control": "no-store"})


def _body(told: dict[str, Any]) -> str:
    parts: list[dict[str, Any]] = told["parts"]
    checked = f'<p class="checked">Looked at {told["checked_at"]:%H:%M:%S} UTC</p>'
    return checked + _concerns(parts) + _parts(parts) + _jobs(parts)


def _concerns(parts: Iterable[dict[str, Any]]) -> str:
    lines = [
        f"<li><b>{escape(part['name'])}</b> {escape(concern)}</li>" for part in parts for concern in part["concerns"]
    ]
    if not lines:
        return '<p class="well">All is well.</p>'
    return f'<ul class="concerns">{"".join(lines)}</ul>'


def _parts(parts: Iterable[dict[str, Any]]) -> str:
    names = ("Part", "", "Version", "Migrations", "Outbox", "Oldest", "Queue", "Given up")
    head = "".join(f"<th>{name}</th>" for name in names)
    rows = "".join(_part(part) for part in parts)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _part(part: dict[str, Any]) -> str:
    cells = ["", "", "", "", ""]
    if "migrations" in part:
        migrations, outbox, queue = part["migrations"], part["outbox"], part["queue"]
        is_current = migrations.applied >= migrations.newest
        cells = [
            migrations.applied if is_current else f"{migrations.applied} → {migrations.newest}",
            str(outbox.unpublished),
            _seconds(outbox.oldest_seconds) if outbox.unpublished else "–",
            str(queue.waiting) if queue else "–",
            str(queue.parked) if queue else "–",
        ]
    state = "away" if part["state"] == "away" else "concerned" if part["concerns"] else "well"
    shown = "".join(f"<td>{escape(cell)}</td>" for cell in (part.get("version", ""), *cells))
    return f'<tr class="{state}"><th>{escape(part["name"])}</th><td><i>{escape(part["state"])}</i></td>{shown}</tr>'


def _jobs(parts: Iterable[dict[str, Any]]) -> str:
    names = ("Job", "Last run", "Found", "Repaired", "Left")
    head = "".join(f"<th>{name}</th>" for name in names)
    shown = [_jobs_of(part, head) for part in parts if part.get("jobs")]
    return f"<h2>Jobs</h2>{''.join(shown)}" if shown else ""


def _jobs_of(part: dict[str, Any], head: str) -> str:
    rows = "".join(
        f'<tr class="{"concerned" if job.error or job.is_late or job.unresolved else "well"}">'
        f"<th>{escape(job.job)}</th><td>{_moment(job.last_run)}{escape(f' {job.error}' if job.error else '')}</td>"
        f"<td>{job.found}</td><td>{job.repaired}</td><td>{job.unresolved}</td></tr>"
        for job in part["jobs"]
    )
    return (
        f"<details{' open' if part['concerns'] else ''}><summary>{escape(part['name'])}</summary>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></details>"
    )


def _moment(moment: datetime | None) -> str:
    return f"{moment:%H:%M:%S}" if moment else "not yet"


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"
