"""What `reset` leaves: nothing mounted below the cache, no data, and no part that was waited for without need."""

import pytest
from devcluster import buildah, commands, components, files, leftovers, lifecycle, local, mounts, settings

CACHE = "/cache"
MOUNTED = f"""\
30 1 0:26 / / rw - ext4 /dev/vda rw
31 30 0:27 / {CACHE}/buildah/overlay rw - ext4 /dev/vda rw
32 31 0:28 / {CACHE}/buildah/overlay/4f29/merged rw - overlay overlay rw
33 30 0:29 / {CACHE}/other rw - ext4 /dev/vda rw
"""


@pytest.fixture
def ran(monkeypatch):
    """Every program that is asked for, none of which runs."""
    asked = []
    monkeypatch.setattr(commands, "run", lambda argv, **_: asked.append([str(word) for word in argv]) or "")
    return asked


def test_what_builds_left_mounted_in_the_cache_is_unmounted_innermost_first(tmp_path, monkeypatch, ran):
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(MOUNTED.replace(CACHE, str(tmp_path)))
    (tmp_path / "buildah").mkdir()
    monkeypatch.setattr(mounts, "MOUNTINFO", mountinfo)
    assert buildah.let_go(tmp_path)
    overlay = f"{tmp_path}/buildah/overlay"
    assert ran == [["umount", "--lazy", f"{overlay}/4f29/merged", overlay]]


def test_a_build_that_is_under_way_keeps_its_mounts(tmp_path, monkeypatch, ran):
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(MOUNTED.replace(CACHE, str(tmp_path)))
    (tmp_path / "buildah").mkdir()
    monkeypatch.setattr(mounts, "MOUNTINFO", mountinfo)
    with files.locked(tmp_path / "buildah.lock"):
        assert not buildah.let_go(tmp_path)
    assert ran == []


def test_a_machine_that_has_built_no_image_has_nothing_to_unmount(tmp_path, ran):
    assert buildah.let_go(tmp_path)
    assert (ran, list(tmp_path.iterdir())) == ([], [])


@pytest.mark.parametrize("fails", [False, True])
def test_a_build_removes_the_containers_that_it_leaves_whether_it_fails_or_not(monkeypatch, ran, tmp_path, fails):
    storage = buildah.Storage(tmp_path, "overlay")

    def built():
        with buildah._without_containers(storage):
            assert ran == []
            if fails:
                raise RuntimeError("the build failed")

    if fails:
        with pytest.raises(RuntimeError):
            built()
    else:
        built()
    assert ran == [["buildah", *storage.options, "rm", "--all"]]


@pytest.mark.parametrize("forget", [False, True])
def test_only_what_keeps_its_data_is_given_time_to_put_it_in_order(monkeypatch, tmp_path, forget):
    config = settings.from_environment({"HOME": str(tmp_path)}, tmp_path)
    given = {}
    monkeypatch.setattr(lifecycle.processes, "stop", lambda process, grace: given.update({process.name: grace}))
    for module, names in ((leftovers, ("end_containers", "remove")), (lifecycle.network, ("remove",))):
        for name in names:
            monkeypatch.setattr(module, name, lambda _: None)
    monkeypatch.setattr(lifecycle.kernel, "restore", lambda _: None)
    monkeypatch.setattr(lifecycle.shutil, "rmtree", lambda *_, **__: None)
    lifecycle.stop(config, forget_data=forget)
    assert given == {part.name: 0.0 if forget else part.grace for part in components.in_order(config, tmp_path)}


def test_all_but_built_images_is_forgotten(tmp_path):
    for name in ("data", "logs", "images"):
        (tmp_path / name / "below").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "images")
    (tmp_path / "kubeconfig").write_text("")
    local._forget(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["images"]
    local._forget(tmp_path)
