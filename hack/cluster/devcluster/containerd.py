"""containerd's configuration, and what its command line tool does for us. Its process is in components.py."""

from __future__ import annotations

import json
from pathlib import Path

from devcluster import commands, settings

CNI_PLUGINS = Path("/usr/lib/cni")
PAUSE_IMAGE = "incident-operator.dev/pause:1"
KEY_LABEL = "incident-operator.dev/key"


def state_directory(config: settings.Settings) -> Path:
    """Bundles and mounts of running containers."""
    return config.runtime / "containerd"


def configuration(config: settings.Settings) -> str:
    """containerd's config.toml. restrict_oom_score_adj lets runc start pods without CAP_SYS_RESOURCE."""
    return f"""version = 2
root = "{config.data}/containerd"
state = "{state_directory(config)}"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]

[grpc]
address = "{config.containerd_socket}"

[plugins."io.containerd.internal.v1.opt"]
path = "{config.data}/containerd/opt"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE_IMAGE}"
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
stream_server_address = "127.0.0.1"
stream_server_port = "0"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{CNI_PLUGINS}"
conf_dir = "{config.configuration}/cni"
"""


def network_name(config: settings.Settings) -> str:
    """CNI's name of the pod network; its leftovers are found by it."""
    return f"incident-operator-{config.instance}"


def pod_network(config: settings.Settings) -> str:
    """The CNI configuration list: a veth pair per pod into our bridge, addresses from the instance's own /24."""
    bridge = {
        "type": "bridge",
        "bridge": config.bridge,
        "isGateway": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": str(config.runtime / "addresses"),
            "ranges": [[{"subnet": str(config.pod_network)}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    plugins = [bridge, {"type": "loopback"}]
    return json.dumps({"cniVersion": "0.4.0", "name": network_name(config), "plugins": plugins}, indent=2) + "\n"


def answers(config: settings.Settings) -> bool:
    """Whether containerd serves requests."""
    return commands.succeeds([*_ctr(config), "version"], timeout=10)


def import_archive(config: settings.Settings, archive: Path) -> None:
    """Load the images of an OCI or docker archive into the cluster."""
    commands.run([*_ctr(config), "images", "import", archive], timeout=300)


def label_image(config: settings.Settings, name: str, key: str) -> None:
    """Note on an image what it was built from."""
    commands.run([*_ctr(config), "images", "label", name, f"{KEY_LABEL}={key}"])


def image_key(config: settings.Settings, name: str) -> str | None:
    """What the image was built from; None where the cluster has no such image or it has no note."""
    return key_in_listing(commands.run([*_ctr(config), "images", "list", f"name=={name}"]))


def key_in_listing(listing: str) -> str | None:
    """The key in what `ctr images list` prints: its last column is LABELS, comma separated."""
    labels = [label for line in listing.splitlines()[1:] for label in line.split()[-1].split(",")]
    keys = [label.partition("=")[2] for label in labels if label.startswith(f"{KEY_LABEL}=")]
    return keys[0] if keys else None


def _ctr(config: settings.Settings) -> list[str | Path]:
    return ["ctr", "--address", config.containerd_socket, "--namespace", "k8s.io"]
