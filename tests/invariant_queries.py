"""The invariants that one query in one database can check: each query finds what breaks its invariant."""

ALWAYS: dict[str, tuple[str, str, str]] = {
    "I1": (
        "catalog",
        "SELECT variant_id, on_hand, reserved FROM stock_levels WHERE NOT reserved BETWEEN 0 AND on_hand",
        "variant {variant_id} has {reserved} reserved of {on_hand} on hand",
    ),
    "I2": (
        "catalog",
        """
        SELECT level.variant_id, level.reserved, coalesce(sum(item.quantity), 0) AS held
        FROM stock_levels AS level
        LEFT JOIN (reservation_items AS item JOIN reservations USING (order_id))
            ON item.variant_id = level.variant_id AND reservations.status = 'held'
        GROUP BY level.variant_id, level.reserved HAVING level.reserved <> coalesce(sum(item.quantity), 0)
        """,
        "variant {variant_id} has {reserved} reserved, but reservations hold {held}",
    ),
    "I3": (
        "catalog",
        """
        SELECT level.variant_id, level.on_hand, coalesce(sum(movement.delta), 0) AS moved
        FROM stock_levels AS level LEFT JOIN stock_movements AS movement USING (variant_id)
        GROUP BY level.variant_id, level.on_hand HAVING level.on_hand <> coalesce(sum(movement.delta), 0)
        """,
        "variant {variant_id} has {on_hand} on hand, but its ledger sums up to {moved}",
    ),
    "I3 per order": (
        "catalog",
        """
        SELECT item.order_id, item.variant_id, reservation.status, sum(coalesce(movement.delta, 0)) AS moved
        FROM reservation_items AS item JOIN reservations AS reservation USING (order_id)
        LEFT JOIN stock_movements AS movement USING (order_id, variant_id)
        GROUP BY item.order_id, item.variant_id, item.quantity, reservation.status
        HAVING sum(coalesce(movement.delta, 0)) <>
            CASE reservation.status WHEN 'committed' THEN -item.quantity ELSE 0 END
        """,
        "order {order_id} is {status}, but moved {moved} of variant {variant_id}",
    ),
    "I5": (
        "orders",
        """
        SELECT o.id, o.total, sum(item.quantity * item.price_at_purchase) AS items
        FROM orders AS o LEFT JOIN order_items AS item ON item.order_id = o.id GROUP BY o.id
        HAVING o.total IS DISTINCT FROM
            sum(item.quantity * item.price_at_purchase) + o.shipping + o.tax - o.discount
        """,
        "order {id} asks for {total}, but its items cost {items}",
    ),
    "I6": (
        "orders",
        """
        SELECT cart_id, cart_version, count(*) AS orders FROM orders WHERE status NOT IN ('cancelled', 'expired')
        GROUP BY cart_id, cart_version HAVING count(*) > 1
        """,
        "version {cart_version} of cart {cart_id} was ordered {orders} times",
    ),
    "I7": (
        "orders",
        """
        SELECT id, status FROM orders
        WHERE status IN ('paid', 'shipped', 'delivered') AND total > 0 AND paying_attempt_id IS NULL
        """,
        "order {id} is {status}, and nothing has paid for it",
    ),
    "I7 once": (
        "orders",
        """
        SELECT paying_attempt_id AS attempt, count(*) AS orders FROM orders
        WHERE paying_attempt_id IS NOT NULL GROUP BY paying_attempt_id HAVING count(*) > 1
        """,
        "attempt {attempt} pays {orders} orders",
    ),
    "I10": (
        "payments",
        """
        SELECT attempt.id, attempt.captured, sum(refund.amount) AS refunds
        FROM attempts AS attempt JOIN refunds AS refund ON refund.attempt_id = attempt.id
        WHERE refund.status <> 'failed' AND refund.kind <> 'external'
        GROUP BY attempt.id HAVING sum(refund.amount) > attempt.captured
        """,
        "of attempt {id} {captured} was taken, and {refunds} goes back",
    ),
}
"""Number → database, query for what breaks it, sentence."""

LONG_STUCK: dict[str, tuple[str, str]] = {
    "orders": ("SELECT id FROM orders WHERE closing_since < now() - interval '1 hour' AND status = 'closing'", "order"),
    "payments": (
        "SELECT id FROM refunds WHERE status IN ('requested', 'submitted') AND created_at < now() - interval '1 hour'",
        "refund",
    ),
    "catalog": (
        """
        SELECT order_id AS id FROM reservations
        WHERE status = 'held' AND confirmed_at IS NULL AND touched_at < now() - interval '1 hour'
        """,
        "the unconfirmed hold of order",
    ),
}
