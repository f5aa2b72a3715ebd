"""Every named crash point of the code, and the services whose processes pass it."""

ALL = ("accounts", "catalog", "cart", "orders", "payments")
PUBLISHERS = ("accounts", "catalog", "orders", "payments")
CONSUMERS = ("catalog", "cart", "orders", "payments")

PASSED_BY: dict[str, tuple[str, ...]] = {
    "commit.before": ALL,
    "commit.after": ALL,
    "publish.before": PUBLISHERS,
    "publish.after": PUBLISHERS,
    "publish.marked": PUBLISHERS,
    "ack.before": CONSUMERS,
    "ack.after": CONSUMERS,
    "hand_on.before": CONSUMERS,
    "hand_on.after": CONSUMERS,
    "call.before": ("catalog", "cart", "orders", "payments"),
    "call.after": ("catalog", "cart", "orders", "payments"),
    "provider.before": ("payments",),
    "provider.after": ("payments",),
}
"""`make test-faults` kills each of them there, and fails for one that it never reached."""
