"""What the components are told."""

import tomllib

import pytest
from devcluster import certificates, commands, components, configuration, containerd, network, settings


@pytest.fixture
def parts(config):
    return {part.name: part for part in components.in_order(config, config.cache)}


def test_etcd_starts_first_and_so_stops_last(config):
    names = [part.name for part in components.in_order(config, config.cache)]
    assert names[0] == "etcd"
    assert names.index("kube-apiserver") < names.index("kube-controller-manager")


def test_nothing_listens_beyond_loopback_and_the_bridge(config, parts):
    addresses = {address for part in parts.values() for address, _ in part.ports}
    assert addresses == {"127.0.0.1", config.bridge_address}
    assert "--bind-address=0.0.0.0" not in str(parts)
    assert configuration.kubelet(config)["address"] == config.bridge_address


def test_no_two_components_want_the_same_port(parts):
    wanted = [port for part in parts.values() for port in part.ports]
    assert len(wanted) == len(set(wanted))


def test_the_apiservers_certificate_serves_loopback_service_and_bridge(config):
    server = next(found for found in certificates.wanted(config) if found.name == "apiserver")
    for name in ("IP:127.0.0.1", "IP:10.96.3.1", "IP:10.244.3.1", "DNS:kubernetes.default.svc.cluster.local"):
        assert name in server.extensions


def test_every_certificate_is_for_serving_or_for_a_client_never_both(config):
    for certificate in certificates.wanted(config):
        assert ("serverAuth" in certificate.extensions) != ("clientAuth" in certificate.extensions)


def test_the_nodes_identity_is_what_the_node_authorizer_expects(config):
    node = next(found for found in certificates.wanted(config) if found.name == "kubelet")
    assert node.subject == f"/O=system:nodes/CN=system:node:{settings.NODE_NAME}"


def test_certificates_are_signed_by_the_clusters_authority_and_kept(config):
    certificates.ensure(config)
    before = {path.name: path.read_bytes() for path in config.certificates.iterdir()}
    verify = ["openssl", "verify", "-CAfile", config.certificates / "ca.crt"]
    for certificate in certificates.wanted(config):
        commands.run([*verify, config.certificates / f"{certificate.name}.crt"])
    certificates.ensure(config)
    assert {path.name: path.read_bytes() for path in config.certificates.iterdir()} == before


def test_a_certificate_that_a_crash_cut_off_is_made_again(config):
    certificates.ensure(config)
    cut_off = config.certificates / "admin.crt"
    cut_off.unlink()
    certificates.ensure(config)
    commands.run(["openssl", "verify", "-CAfile", config.certificates / "ca.crt", cut_off])


def test_private_keys_are_for_root_only(config):
    certificates.ensure(config)
    assert {path.stat().st_mode & 0o077 for path in config.certificates.glob("*.key")} == {0}
    assert config.certificates.stat().st_mode & 0o077 == 0


def test_the_audit_log_tells_who_for_all_and_what_for_changes_of_our_own_objects_only():
    first, second = configuration.audit_policy()["rules"]
    assert first["level"] == "RequestResponse"
    assert first["resources"] == [{"group": "incidents.dev"}]
    assert second == {"level": "Metadata"}


def test_containerds_configuration_is_toml_with_all_paths_of_this_cluster(config):
    parsed = tomllib.loads(containerd.configuration(config, "overlayfs"))
    runtime = parsed["plugins"]["io.containerd.grpc.v1.cri"]
    assert parsed["state"].startswith(str(config.runtime))
    assert parsed["root"].startswith(str(config.state))
    assert runtime["restrict_oom_score_adj"] is True
    assert runtime["netns_mounts_under_state_dir"] is True
    assert runtime["containerd"]["snapshotter"] == "overlayfs"


def test_pods_get_addresses_of_this_instance_only(config):
    assert str(config.pod_network) in containerd.pod_network(config)
    assert config.bridge in containerd.pod_network(config)


@pytest.mark.parametrize(("bridged", "masquerade"), [(True, False), (False, True)])
def test_services_are_masqueraded_only_where_the_kernel_needs_it(config, bridged, masquerade):
    assert configuration.proxy(config, has_bridge_netfilter=bridged)["nftables"]["masqueradeAll"] is masquerade


def test_the_loopback_rule_is_for_the_apiservers_port_only(config):
    rules = network.loopback_rules(config)
    assert f"ip daddr 127.0.0.1 tcp dport {config.ports.apiserver} dnat to 10.244.3.1" in rules
    assert rules.count("dnat") == 1


def test_tables_are_read_from_what_nft_lists():
    assert network.tables_in("table ip incident0\ntable ip6 kube-proxy\n") == {
        ("ip", "incident0"),
        ("ip6", "kube-proxy"),
    }


def test_what_the_image_was_built_from_is_read_from_ctrs_last_column():
    head = "REF TYPE DIGEST SIZE PLATFORMS LABELS\n"
    row = "docker.io/a:1 application/x sha256:1 1.0 MiB linux/amd64 io.cri=managed,incident-operator.dev/key=abc\n"
    assert containerd.key_in_listing(head + row) == "abc"
    assert containerd.key_in_listing(head + row.replace("incident-operator.dev/key=abc", "other=1")) is None
    assert containerd.key_in_listing(head) is None
