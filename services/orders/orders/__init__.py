"""Orders: what was bought, at which price, and how far it has come. The only judge of whether an order is payable,
paid or closed, and of whether money must go back. Start reading at `checkout.py`, then `order_states.py`.
"""
