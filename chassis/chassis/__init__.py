"""The mechanism every Haat service stands on, and nothing a shopkeeper would recognise."""
