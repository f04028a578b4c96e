"""Papers of tenants (C19): handed in, looked at, reviewed, and kept encrypted."""
