"""The clients' side: connections, and what a request is: its head, its body as far as decisions need it."""
