"""IP addresses in text that others wrote."""

from __future__ import annotations

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def parse_address(text: str) -> Address | None:
    """The IP address that a text is; None for a name or anything else."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
