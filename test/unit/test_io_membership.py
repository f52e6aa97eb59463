"""From files to what an engine needs."""

from __future__ import annotations

from ipaddress import IPv4Interface

import pytest

from omni_core.config import ganglion
from omni_core.crypto.identity import Identity, key_text
from omni_core.crypto.kdf import admission_key, cluster_psk
from omni_core.crypto.token import JoinToken
from omni_core.engines.settings import NucleusSettings
from omni_core.errors import ConfigError
from omni_core.io import membership
from omni_core.io.membership import host_name, load_membership, make_settings, overlay_plan, save_vip4
from omni_core.io.underlay import Names
from omni_core.types import Endpoint
from omni_core.wire.hello import CAPABILITY_BULK, CAPABILITY_GROUPS

NUCLEUS_KEY = Identity.from_seed(bytes(32)).public_key
PEER_KEY = Identity.from_seed(bytes(range(32))).public_key


@pytest.fixture
def private(tmp_path):
    def write(name: str, text: str) -> str:
        path = tmp_path / name
        path.write_text(text)
        path.chmod(0o600)
        return str(path)

    return write


def token(secret: bytes | None) -> str:
    return JoinToken((Endpoint("nucleus.example.org", 51820),), "fleet", (NUCLEUS_KEY,), secret).format()


def test_a_token_is_all_that_is_needed(tmp_path, private):
    config = ganglion.validate(
        {"key_file": str(tmp_path / "key"), "token_file": private("token", token(b"open sesame"))}
    )
    found = load_membership(config)
    assert found.cluster == "fleet"
    assert found.nuclei == ((("nucleus.example.org", 51820), NUCLEUS_KEY),)
    assert found.psk == cluster_psk(b"open sesame", "fleet")
    assert found.admission_key == admission_key(b"open sesame", "fleet")
    assert load_membership(config).identity.public_key == found.identity.public_key
    for secret in (found.psk, found.admission_key, b"open sesame"):
        assert repr(secret) not in repr(found)


def test_each_nucleus_has_the_addresses_of_its_own_name(tmp_path):
    config = ganglion.validate(
        {
            "key_file": str(tmp_path / "key"),
            "cluster": "fleet",
            "nucleus": ["a.example.org:1", "b.example.org:2", "192.0.2.9:3"],
            "nucleus_key": ", ".join(map(key_text, (NUCLEUS_KEY, PEER_KEY, NUCLEUS_KEY))),
        }
    )
    names = Names()
    names._answers = {"b.example.org": ["192.0.2.1", "2001:db8::1"]}
    assert make_settings(config, load_membership(config), names, 1418, []).nuclei == (
        NucleusSettings(NUCLEUS_KEY, ()),
        NucleusSettings(PEER_KEY, (Endpoint("192.0.2.1", 2), Endpoint("2001:db8::1", 2))),
        NucleusSettings(NUCLEUS_KEY, (Endpoint("192.0.2.9", 3),)),
    )


def test_without_a_token(tmp_path, private):
    config = ganglion.validate(
        {
            "key_file": str(tmp_path / "key"),
            "cluster": "fleet",
            "nucleus": ["192.0.2.1:7"],
            "nucleus_key": key_text(NUCLEUS_KEY),
            "secret_file": private("secret", "open sesame\n"),
            "name": "robot-7",
            "static_peers": [f"{key_text(PEER_KEY)}@192.0.2.9:51820"],
            "static_macs": [f"02:00:00:00:00:01={key_text(PEER_KEY)}", "02:00:00:00:00:02/7=local"],
            "vip4": "10.77.0.1/24",
        }
    )
    found = load_membership(config)
    assert found.psk == cluster_psk(b"open sesame", "fleet")
    settings = make_settings(config, found, Names(), 1418, [Endpoint("192.0.2.2", 51820)])
    assert settings.nuclei == (NucleusSettings(NUCLEUS_KEY, (Endpoint("192.0.2.1", 7),)),)
    assert settings.static_peers[0].public_key == PEER_KEY
    assert settings.static_peers[0].endpoints == (("192.0.2.9", 51820),)
    assert [(entry.peer, entry.vlan) for entry in settings.static_macs] == [(PEER_KEY, None), (None, 7)]
    assert settings.name == "robot-7" and str(settings.vip4) == "10.77.0.1/24"
    assert settings.allowed_keys is None and settings.interface_mtu == 1418


@pytest.mark.parametrize(
    ("multicast", "spdp_cache", "told"),
    [("learn", "on", True), ("learn", "off", True), ("flood", "on", True), ("flood", "off", False)],
)
def test_peers_are_told_whether_groups_are_looked_after(tmp_path, multicast, spdp_cache, told):
    values = {"key_file": str(tmp_path / "key"), "cluster": "fleet", "vip4": "10.77.0.1/24", "bridge": "eth1"}
    values["static_peers"] = [f"{key_text(PEER_KEY)}@192.0.2.9:51820"]
    config = ganglion.validate({**values, "multicast": multicast, "spdp_cache": spdp_cache})
    settings = make_settings(config, load_membership(config), Names(), 1418, [])
    assert bool(settings.capabilities & CAPABILITY_GROUPS) is told and settings.capabilities & CAPABILITY_BULK
    assert (settings.multicast_learn, settings.spdp_cache) == (multicast == "learn", spdp_cache == "on")
    assert settings.bridged


def test_a_leased_vip_is_remembered(tmp_path, private, caplog):
    values = {"key_file": str(tmp_path / "key"), "token_file": private("token", token(None)), "vip4": "auto"}
    config = ganglion.validate(values)
    found = load_membership(config)
    assert found.vip4 is None
    settings = make_settings(config, found, Names(), 1418, [])
    assert settings.vip4 is None and settings.vip4_auto
    leased = IPv4Interface("10.77.0.100/24")
    save_vip4(config.vip4_file, leased)
    assert (tmp_path / "key.vip4").read_text() == "10.77.0.100/24\n"
    found = load_membership(config)
    assert found.vip4 == leased and make_settings(config, found, Names(), 1418, []).vip4 == leased
    assert overlay_plan(config, found, 1418).addresses[0] == leased
    assert load_membership(ganglion.validate({**values, "vip4": ""})).vip4 is None, "only with auto"
    (tmp_path / "key.vip4").write_text("224.0.0.1/4\n")
    assert load_membership(config).vip4 is None and "is ignored" in caplog.text
    for _ in range(2):
        save_vip4(config.vip4_file, None)
    assert not (tmp_path / "key.vip4").exists()
    save_vip4("/proc/no/such/file", leased)
    assert "a restart will ask for it anew" in caplog.text


def test_auto_needs_somebody_to_ask(tmp_path):
    values = {"key_file": str(tmp_path / "key"), "cluster": "fleet", "vip4": "auto"}
    values["static_peers"] = [f"{key_text(PEER_KEY)}@192.0.2.9:51820"]
    with pytest.raises(ConfigError, match="there is no Nucleus to lease one"):
        ganglion.validate(values)


def test_an_open_cluster_has_no_keys(tmp_path, private):
    config = ganglion.validate({"key_file": str(tmp_path / "key"), "token_file": private("token", token(None))})
    found = load_membership(config)
    assert found.psk is None and found.admission_key is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [("omni://nowhere", "names no cluster"), ("http://x/y", "does not begin with"), ("", "is empty")],
)
def test_a_bad_token_names_its_file(tmp_path, private, text, problem):
    path = private("token", text)
    config = ganglion.validate({"key_file": str(tmp_path / "key"), "token_file": path})
    with pytest.raises(ConfigError, match=problem) as caught:
        load_membership(config)
    assert caught.value.field == "token_file" and path in caught.value.problem


def test_two_secrets_are_one_too_many(tmp_path, private):
    values = {
        "key_file": str(tmp_path / "key"),
        "token_file": private("token", token(b"open sesame")),
        "secret_file": private("secret", "other"),
    }
    with pytest.raises(ConfigError, match="token carries a secret") as caught:
        load_membership(ganglion.validate(values))
    assert caught.value.field == "secret_file"


@pytest.mark.parametrize(
    ("machine", "name"),
    [("robot-7", "robot-7"), ("my robot!", "my-robot-"), ("-x", "x"), ("", "robot"), ("r" * 64, "r" * 63)],
)
def test_the_machines_name_is_made_to_fit(monkeypatch, machine, name):
    monkeypatch.setattr(membership.socket, "gethostname", lambda: machine)
    assert host_name() == name
