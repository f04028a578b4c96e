"""Sign-in through a tenant's own identity provider (OpenID Connect Core 1.0, authorization code with PKCE)."""
