"""What the provider really did with the money of an order, and how much of it goes back."""
