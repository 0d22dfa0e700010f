"""containerd's configuration, and what its command line tool does for us. Its process is in components.py."""

from __future__ import annotations

import json
from pathlib import Path

from devcluster import commands, mounts, settings

CNI_PLUGINS = Path("/usr/lib/cni")
PAUSE_IMAGE = "incident-operator.dev/pause:1"
KEY_LABEL = "incident-operator.dev/key"


def state_directory(config: settings.Settings) -> Path:
    """Bundles and mounts of running containers."""
    return config.runtime / "containerd"


def bundles(config: settings.Settings) -> list[Path]:
    """List the directories of running containers; each is named after its container."""
    return list((state_directory(config) / "io.containerd.runtime.v2.task" / "k8s.io").glob("*"))


def snapshotter(config: settings.Settings) -> str:
    """How containerd lays images out: overlays, or copies where the clone is on an overlay itself."""
    return "overlayfs" if mounts.can_hold_overlays(config.state) else "native"


def addresses_directory(config: settings.Settings) -> Path:
    """Which pod has which address; forgotten with the pods."""
    return config.runtime / "addresses"


def configuration(config: settings.Settings, image_layout: str) -> str:
    """Containerd's config.toml. restrict_oom_score_adj lets runc start pods without CAP_SYS_RESOURCE."""
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

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "{image_layout}"

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
    """Return the CNI configuration list: a veth pair per pod into our bridge, addresses from the instance's own /24."""
    bridge = {
        "type": "bridge",
        "bridge": config.bridge,
        "isGateway": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": str(addresses_directory(config)),
            "ranges": [[{"subnet": str(config.pod_network)}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    plugins = [bridge, {"type": "loopback"}]
    return json.dumps({"cniVersion": "0.4.0", "name": network_name(config), "plugins": plugins}, indent=2) + "\n"


def answers(config: settings.Settings) -> bool:
    """Tell whether containerd serves requests."""
    return commands.succeeds([*_ctr(config), "version"], timeout=10)


def import_archive(config: settings.Settings, archive: Path) -> None:
    """Load the images of an OCI or docker archive into the cluster."""
    commands.run([*_ctr(config), "images", "import", "--snapshotter", snapshotter(config), archive], timeout=300)


def label_image(config: settings.Settings, name: str, key: str) -> None:
    """Note on an image what it was built from."""
    commands.run([*_ctr(config), "images", "label", name, f"{KEY_LABEL}={key}"])


def image_key(config: settings.Settings, name: str) -> str | None:
    """Tell what the image was built from; None where the cluster has no such image or it has no note."""
    return key_in_listing(commands.run([*_ctr(config), "images", "list", f"name=={name}"]))


def key_in_listing(listing: str) -> str | None:
    """Return the key in what `ctr images list` prints: its last column is LABELS, comma separated."""
    labels = [label for line in listing.splitlines()[1:] for label in line.split()[-1].split(",")]
    keys = [label.partition("=")[2] for label in labels if label.startswith(f"{KEY_LABEL}=")]
    return keys[0] if keys else None


def _ctr(config: settings.Settings) -> list[str | Path]:
    return ["ctr", "--address", config.containerd_socket, "--namespace", "k8s.io"]
