"""HTTP as mod_xml_curl and mod_json_cdr speak it: a connection for each request, certificates checked when told so."""

from __future__ import annotations

import ssl

import httpx


def certificate_checks(is_wanted: bool, authority_file: str) -> ssl.SSLContext | bool:
    """Whom to trust (`enable-cacert-check`, `ssl-cacert-file`). Raises OSError when the file cannot be used."""
    if is_wanted and authority_file:
        return ssl.create_default_context(cafile=authority_file)
    return is_wanted


def connecting_anew(*, verify: ssl.SSLContext | bool) -> httpx.AsyncClient:
    """A client that keeps no connection and listens to no proxy settings."""
    limits = httpx.Limits(max_keepalive_connections=0, max_connections=None)
    return httpx.AsyncClient(verify=verify, limits=limits, trust_env=False)
