"""A page of figures says which version of the product they were taken on."""

import subprocess
from pathlib import Path

import pytest

from proofs import provenance


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    def git(*arguments: str) -> None:
        subprocess.run(
            ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", *arguments], cwd=tmp_path, check=True
        )

    git("init", "-q")
    for folder in (*provenance.PRODUCT, "docs"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "file").write_text("first")
        git("add", "-A")
        git("commit", "-qm", folder)
    return tmp_path


def test_it_is_the_commit_that_changed_the_product_last(clone: Path):
    told = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD~1"], cwd=clone, capture_output=True, text=True, check=True
    )
    assert provenance.commit(clone) == f"commit {told.stdout.strip()}"


def test_it_says_that_files_differ_from_it(clone: Path):
    (clone / "docs" / "file").write_text("second")
    assert "with changes" not in provenance.commit(clone)
    (clone / "operator" / "file").write_text("second")
    assert provenance.commit(clone).endswith(" with changes")
