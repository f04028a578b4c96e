"""What goes on at the nodes now: calls and registrations, kept by each node's supervisor, shown by the API."""
