"""The frame of every page that people read in a browser. Every asset comes from this gateway."""

from html import escape

from starlette.responses import Response

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


def page(
    title: str,
    body: str,
    *,
    styles: tuple[str, ...] = ("haat.css",),
    kind: str = "text",
    status: int = 200,
    cache: str = "public, max-age=60",
) -> Response:
    """A page; `body` is HTML, what comes from elsewhere escaped by whoever wrote it."""
    sheets = "".join(f'<link rel="stylesheet" href="/docs/{name}">' for name in styles)
    html = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(title)}</title><link rel="icon" href="/docs/icon.svg">{sheets}</head>'
        f'<body class="{kind}"><header><a href="/">Haat</a><nav><a href="/docs">Docs</a>'
        '<a href="/problems">Problems</a></nav></header>'
        f"<main><h1>{escape(title)}</h1>{body}</main></body></html>"
    )
    headers = {"content-security-policy": CONTENT_SECURITY_POLICY, "cache-control": cache}
    return Response(html, status_code=status, media_type="text/html", headers=headers)
