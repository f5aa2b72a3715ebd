"""Who people are: registration, sign-in and sessions, profiles and address books, and the keys that sign tokens."""
