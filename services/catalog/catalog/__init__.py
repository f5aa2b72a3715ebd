"""What is for sale, and how much of it is left: categories, products, search, stock and reservations."""
