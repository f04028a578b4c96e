"""The certificate that a node shows over SIP-TLS: self-made for development, or the operator's own."""

from __future__ import annotations

import stat
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from infra.app import commands_switch
from infra.app.installation import Installation
from infra.kit.database import Database
from infra.kit.problems import InvalidInput
from infra.kit.settings import Settings
from switch.node_certificates import CertificateRefused, SipTls, install, make_for_development
from tests.switch.cluster import details


def test_a_self_made_certificate_is_kept_until_it_is_about_to_end(tmp_path: Path) -> None:
    first = make_for_development(tmp_path, host="127.0.0.1").certificate.read_bytes()
    assert make_for_development(tmp_path, host="127.0.0.1").certificate.read_bytes() == first
    other = make_for_development(tmp_path, host="127.0.0.2", valid_for=timedelta(days=10)).certificate.read_bytes()
    assert other != first
    assert make_for_development(tmp_path, host="127.0.0.2").certificate.read_bytes() != other
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def split(tmp_path: Path) -> tuple[Path, Path]:
    """Certificate and key in files of their own."""
    both = make_for_development(tmp_path / "made", host="127.0.0.1").certificate.read_bytes()
    at = both.index(b"-----BEGIN PRIVATE KEY")
    certificate, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    certificate.write_bytes(both[:at])
    key.write_bytes(both[at:])
    return certificate, key


def test_an_operators_certificate_and_key_are_put_together(tmp_path: Path) -> None:
    certificate, key = split(tmp_path)
    files = install(tmp_path / "tls", certificate=certificate, key=key)
    assert files.certificate.read_bytes() == certificate.read_bytes() + key.read_bytes()
    assert files.authority.read_bytes() == certificate.read_bytes()


def test_files_that_cannot_be_used_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    certificate, key = split(tmp_path)
    _, other_key = split(tmp_path / "other")
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("no certificate")
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    locked = tmp_path / "locked.pem"
    locked.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"locked"),
        )
    )
    for chain, secret in ((nonsense, key), (certificate, nonsense), (certificate, other_key), (certificate, locked)):
        with pytest.raises(CertificateRefused, match="unencrypted private key"):
            install(tmp_path / "tls", certificate=chain, key=secret)
    with pytest.raises(CertificateRefused, match="cannot be read"):
        install(tmp_path / "tls", certificate=tmp_path / "nowhere.pem", key=key)
    assert not (tmp_path / "tls").exists()


async def test_node_config_makes_one_for_development_and_never_in_production(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    installation = Installation(settings, database.url)
    await commands_switch.add_node(installation, details("fs-1"))
    await commands_switch.node_config(installation, "fs-1", tmp_path / "conf", sip_tls=SipTls(5061))
    assert sorted(path.name for path in (tmp_path / "conf" / "tls").iterdir()) == ["agent.pem", "cafile.pem"]
    assert "seatline_sip_tls_port=5061" in (tmp_path / "conf" / "vars.xml").read_text()
    production = Installation(production_of(settings), database.url)
    with pytest.raises(InvalidInput, match="self-made"):
        await commands_switch.node_config(production, "fs-1", tmp_path / "other", sip_tls=SipTls(5061))
    assert not (tmp_path / "other").exists()


def production_of(settings: Settings) -> Settings:
    """The same settings in production."""
    return replace(settings, environment="production")


@pytest.mark.parametrize(
    ("port", "certificate", "key", "field"),
    [(None, Path("a"), None, "sip_tls_port"), (5061, None, Path("k"), "sip_tls_certificate")],
)
def test_half_of_the_options_is_refused(
    port: int | None, certificate: Path | None, key: Path | None, field: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        commands_switch.sip_tls_of(port, certificate, key)
    assert refused.value.field == field
    assert commands_switch.sip_tls_of(None, None, None) is None
