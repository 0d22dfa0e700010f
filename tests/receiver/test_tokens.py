"""Bearer tokens: two at once, replaced while running."""

import pytest

from incident_operator.receiver.auth import TokenError, TokenFiles, Tokens


@pytest.fixture
def files(tmp_path):
    paths = tmp_path / "current", tmp_path / "next"
    paths[0].write_text("first-token\n")
    return paths


def test_a_token_admits_and_another_does_not(files):
    tokens = Tokens(TokenFiles(files))
    assert tokens.admits("Bearer first-token")
    assert tokens.admits("bearer first-token")
    assert not tokens.admits("Bearer other-token")


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "first-token", "Basic first-token", "Bearer first-token x", "Bearer é\ud800"],
)
def test_what_is_no_token_does_not_admit(files, header):
    assert not Tokens(TokenFiles(files)).admits(header)


def test_two_tokens_are_valid_at_once(files):
    files[1].write_text("second-token")
    tokens = Tokens(TokenFiles(files))
    assert tokens.admits("Bearer first-token")
    assert tokens.admits("Bearer second-token")


def test_a_new_token_is_valid_as_soon_as_it_is_there_and_an_old_one_no_longer(files):
    tokens = Tokens(TokenFiles(files))
    replacement = files[0].with_name("new")
    replacement.write_text("other-token")
    replacement.replace(files[0])
    assert tokens.admits("Bearer other-token")
    assert not tokens.admits("Bearer first-token")
    files[0].unlink()
    assert not tokens.admits("Bearer other-token")


def test_an_empty_file_is_no_token(files):
    files[1].write_text("\n")
    assert not Tokens(TokenFiles(files)).admits("Bearer ")


def test_without_any_token_nobody_could_post(tmp_path):
    with pytest.raises(TokenError, match=r"no bearer token in .*missing"):
        Tokens(TokenFiles([tmp_path / "missing"]))


def test_each_token_is_told_to_what_masks_it_once_it_is_there(files):
    told = []
    tokens = Tokens(TokenFiles(files), told.append)
    assert told == ["first-token"]
    files[1].write_text("second-token")
    tokens.admits("Bearer first-token")
    tokens.admits("Bearer first-token")
    assert told == ["first-token", "second-token"]
