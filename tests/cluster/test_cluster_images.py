"""Images: names, archives, and when one must be built again."""

import hashlib
import json
import tarfile
from pathlib import Path

import pytest
from devcluster import bases, buildah, console, docker, dockerfile, images, oci, packages, settings

BASE = bases.Base("python", ("python3",), "bookworm", Path("/cache"))
STORAGE = buildah.Storage(Path("/cache"), "overlay")


@pytest.fixture
def request_(tmp_path):
    (tmp_path / "Dockerfile").write_text("ARG BASE_IMAGE\nFROM $BASE_IMAGE\nCOPY src/ pyproject.toml /app/\n")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "main.py").write_text("print()")
    (tmp_path / "pyproject.toml").write_text("[project]")
    return images.Request("operator:dev", tmp_path / "Dockerfile", tmp_path, ("A=1",), "python")


def key_of(request, base="base"):
    return images.planned(request, base, Path("/archives")).key


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("web", "docker.io/library/web:latest"),
        ("web:1", "docker.io/library/web:1"),
        ("demo/web:1", "docker.io/demo/web:1"),
        ("ghcr.io/demo/web", "ghcr.io/demo/web:latest"),
        ("localhost/web:1", "localhost/web:1"),
        ("registry:5000/web", "registry:5000/web:latest"),
    ],
)
def test_a_short_name_becomes_what_kubernetes_makes_of_it(tag, name):
    assert images.full_name(tag) == name


@pytest.mark.parametrize(
    ("line", "sources"),
    [
        ("COPY a b /dest/", ("a", "b")),
        ("copy --chown=1:1 --link a /dest", ("a",)),
        ("COPY --from=build /opt /opt", ()),
        ("ADD https://example.com/x a.tar /", ("a.tar",)),
        ('COPY ["with blank", "/dest"]', ("with blank",)),
        ("COPY a \\\n  b \\\n  /dest", ("a", "b")),
        ("# COPY a b", ()),
        ("RUN cp a b", ()),
    ],
)
def test_the_context_paths_of_a_dockerfile(line, sources):
    assert dockerfile.copied_sources(line) == sources


def test_an_image_is_the_same_while_what_it_copies_is(request_, tmp_path):
    before = key_of(request_)
    (tmp_path / "README.md").write_text("not copied")
    (tmp_path / "src" / "__pycache__").mkdir()
    (tmp_path / "src" / "__pycache__" / "main.pyc").write_text("x")
    assert key_of(request_) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "src" / "main.py").write_text("print(1)"),
        lambda root: (root / "src" / "other.py").write_text(""),
        lambda root: (root / "src" / "main.py").rename(root / "src" / "renamed.py"),
        lambda root: (root / "src" / "main.py").chmod(0o755),
        lambda root: (root / "Dockerfile").write_text((root / "Dockerfile").read_text() + "USER 1\n"),
    ],
)
def test_an_image_is_another_when_anything_that_it_copies_changes(request_, tmp_path, change):
    before = key_of(request_)
    change(tmp_path)
    assert key_of(request_) != before


def test_an_image_is_another_on_another_base(request_):
    assert key_of(request_, "one") != key_of(request_, "two")


def test_archives_of_the_same_name_and_other_content_are_found(request_, tmp_path):
    image = images.planned(request_, "base", tmp_path)
    older = image.archive.with_name(image.archive.name.replace(image.key, "0" * 16))
    other = image.archive.with_name(f"other_1-{'0' * 16}.tar")
    for archive in (image.archive, older, other):
        archive.write_text("")
    assert images.older_archives(image) == [older]


def test_buildah_is_given_our_base_and_may_not_pull(request_):
    command = buildah.build_command(STORAGE, request_, "name:1", BASE, [Path("/etc/ssl/certs")])
    assert command[0] == "buildah"
    assert "--pull-never" in command
    assert f"BASE_IMAGE={BASE.reference}" in command
    assert "A=1" in command
    assert "/etc/ssl/certs:/etc/ssl/certs:ro" in command
    assert command[-1] == str(request_.context)


def test_buildah_keeps_its_storage_apart():
    assert "/cache/buildah" in STORAGE.options
    assert buildah.push_command(STORAGE, "name:1", Path("/out.tar"))[-1] == "docker-archive:/out.tar:name:1"


def test_docker_takes_the_dockerfiles_own_base(request_):
    command = docker.build_command(request_, "name:1")
    assert command[:4] == ["docker", "build", "--tag", "name:1"]
    assert "A=1" in command
    assert "BASE_IMAGE" not in " ".join(command)


def test_an_archive_is_an_oci_layout_whose_digests_are_right(tmp_path):
    archive = tmp_path / "image.tar"
    oci.write_archive(archive, "localhost/x:1", oci.tar_of("pause", b"program"), {"Entrypoint": ["/pause"]})
    with tarfile.open(archive) as opened:
        content = {member.name: opened.extractfile(member).read() for member in opened}
    index = json.loads(content["index.json"])
    assert json.loads(content["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    assert index["manifests"][0]["annotations"]["io.containerd.image.name"] == "localhost/x:1"
    manifest = json.loads(content[blob(index["manifests"][0])])
    config = json.loads(content[blob(manifest["config"])])
    assert config["rootfs"]["diff_ids"] == [manifest["layers"][0]["digest"]]
    assert len(config["history"]) == len(manifest["layers"])
    for name, data in content.items():
        assert not name.startswith("blobs/") or name == f"blobs/sha256/{hashlib.sha256(data).hexdigest()}"


def blob(descriptor):
    return "blobs/" + descriptor["digest"].replace(":", "/")


def test_a_base_is_another_when_its_packages_are():
    other = bases.Base("python", ("python3", "curl"), "bookworm", Path("/cache"))
    assert other.reference != BASE.reference


def test_the_bases_that_the_project_offers_are_there(tmp_path):
    assert "python3" in bases.named("python", tmp_path).packages
    assert "prometheus-alertmanager" in bases.named("platform", tmp_path).packages
    assert "pgbouncer" in bases.named("pooler", tmp_path).packages


def test_an_unknown_base_is_refused_with_those_there_are(tmp_path):
    with pytest.raises(console.ClusterError, match="platform, pooler, python"):
        bases.named("ruby", tmp_path)


def test_a_machine_that_is_no_debian_cannot_make_a_base():
    assert bases.suite_in("ID=debian\nVERSION_CODENAME=bookworm\n") == "bookworm"
    with pytest.raises(console.ClusterError, match="only be made on Debian"):
        bases.suite_in("ID=arch\n")


def test_only_missing_packages_are_installed():
    listing = "ii  runc\nrc  containerd\nun  buildah\n"
    installed = packages.installed_in(listing)
    assert packages.missing(("runc", "containerd", "buildah", "absent"), installed) == (
        "containerd",
        "buildah",
        "absent",
    )


def test_bases_name_their_file_under_hack_images():
    assert settings.BASES_FILE.is_file()
