"""Writing an OCI image archive: a tar that `ctr images import`, `kind load image-archive` and buildah all read."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
LAYOUT = {"imageLayoutVersion": "1.0.0"}
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"


@dataclass(frozen=True, slots=True)
class Blob:
    """Content that is named by its digest."""

    media_type: str
    content: bytes

    @property
    def digest(self) -> str:
        """SHA-256 in hex."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def descriptor(self) -> dict[str, Any]:
        """How other blobs refer to it."""
        return {"mediaType": self.media_type, "digest": f"sha256:{self.digest}", "size": len(self.content)}


def write_archive(path: Path, name: str, layer: bytes, container: dict[str, Any]) -> None:
    """Write an image of one layer.

    name is the full reference (registry/repository:tag); layer an uncompressed tar of the root file system; container the
    OCI container configuration (Entrypoint, Env, …).
    """
    content = Blob(LAYER_TYPE, layer)
    config = Blob(CONFIG_TYPE, _json(image_config(content.digest, container)))
    manifest = Blob(MANIFEST_TYPE, _json(image_manifest(config, content)))
    annotations = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}
    index = {"schemaVersion": 2, "manifests": [{**manifest.descriptor, "annotations": annotations}]}
    unfinished = path.with_name(f".{path.name}.unfinished")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(unfinished, "w") as archive:
        _add(archive, "oci-layout", _json(LAYOUT))
        _add(archive, "index.json", _json(index))
        for blob in (manifest, config, content):
            _add(archive, f"blobs/sha256/{blob.digest}", blob.content)
    unfinished.replace(path)


def image_config(layer_digest: str, container: dict[str, Any]) -> dict[str, Any]:
    """Return the image configuration for this machine's architecture."""
    return {
        "architecture": ARCHITECTURES[platform.machine()],
        "os": "linux",
        "config": container,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_digest}"]},
        "history": [{"created_by": "incident-operator hack/cluster"}],  # builders count these against the layers
    }


def image_manifest(config: Blob, layer: Blob) -> dict[str, Any]:
    """Return the manifest that ties a configuration to its layer."""
    return {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": config.descriptor,
        "layers": [layer.descriptor],
    }


def tar_of(name: str, content: bytes) -> bytes:
    """Return a tar that holds one executable file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        _add(archive, name, content, mode=0o755)
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    member.mode = mode
    archive.addfile(member, io.BytesIO(content))


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()
