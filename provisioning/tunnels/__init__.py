"""WireGuard accounts of seats: keys, addresses, gateways, and the traffic that they count (clauses C3, C20)."""
