"""What a shopper wants to buy: guest and user carts, and their merge at sign-in. Never owns stock."""
