"""Matchers: Alertmanager's documented syntax, and when they hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incident_operator.core.alerts import matching
from incident_operator.core.alerts.matching import Matcher, MatcherError, Operator


@pytest.mark.parametrize(
    ("text", "name", "operator", "value"),
    [
        ("foo=bar", "foo", "=", "bar"),
        ("foo!=bar", "foo", "!=", "bar"),
        ("foo=~bar", "foo", "=~", "bar"),
        ("foo!~bar", "foo", "!~", "bar"),
        ('foo="bar"', "foo", "=", "bar"),
        ('  foo  =  "bar"  ', "foo", "=", "bar"),
        ('"foo" = "bar"', "foo", "=", "bar"),
        ('foo=""', "foo", "=", ""),
        ('foo="a b"', "foo", "=", "a b"),
        ('foo="{a=b,c!=d}"', "foo", "=", "{a=b,c!=d}"),
        (r'foo="say \"hi\""', "foo", "=", 'say "hi"'),
        (r'foo="a\\b"', "foo", "=", r"a\b"),
        (r'foo="a\nb"', "foo", "=", "a\nb"),
        (r'foo="\xf0\x9f\x99\x82"', "foo", "=", r"\xf0\x9f\x99\x82"),
        (r'foo=~"web-\d+\.prod"', "foo", "=~", r"web-\d+\.prod"),
        (r'foo=~"web-\\d+"', "foo", "=~", r"web-\d+"),
        ("foo=~a|b", "foo", "=~", "a|b"),
        ("foo🙂=bar", "foo🙂", "=", "bar"),
        ('"my label"="größe"', "my label", "=", "größe"),
        ("k8s.namespace.name=prod", "k8s.namespace.name", "=", "prod"),
        ("foo=1", "foo", "=", "1"),
    ],
)
def test_a_matcher_is_read_as_alertmanager_reads_it(text, name, operator, value):
    matcher = matching.parse(text)
    assert isinstance(matcher, Matcher), matcher
    assert (matcher.name, matcher.operator, matcher.value) == (name, Operator(operator), value)


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("", 1, "expected a label name"),
        ("=bar", 1, "expected a label name"),
        ('""="bar"', 1, "expected a label name"),
        ("{foo=bar}", 1, "expected a label name"),
        ("foo", 4, "expected =, !=, =~ or !~"),
        ("foo!bar", 4, "expected =, !=, =~ or !~"),
        ("foo bar=baz", 5, "expected =, !=, =~ or !~"),
        ("foo=", 5, 'the empty one is written ""'),
        ("foo==bar", 5, "put it in double quotes"),
        ("foo='bar'", 5, "put it in double quotes"),
        ('foo="bar', 5, "never closed"),
        (r'foo="bar\"', 5, "never closed"),
        ("foo=a b", 7, "put the whole value in double quotes"),
        ("foo=bar,baz=qux", 8, "its own item"),
        ('foo="bar"baz', 10, "unexpected 'b'"),
        ('foo=~"a("', 6, "missing ): a("),
        (r'foo=~"(a)\1"', 6, "invalid escape sequence"),
        ('foo=~"(?=a)"', 6, "invalid perl operator"),
    ],
)
def test_what_is_no_matcher_is_answered_with_the_place_and_the_remedy(text, column, words):
    error = matching.parse(text)
    assert isinstance(error, MatcherError), error
    assert error.column == column
    assert words in error.message


@pytest.mark.parametrize(
    ("text", "labels", "holds"),
    [
        ("a=x", {"a": "x"}, True),
        ("a=x", {"a": "y"}, False),
        ("a=x", {}, False),
        ('a=""', {}, True),
        ('a=""', {"a": "x"}, False),
        ("a!=x", {}, True),
        ("a!=x", {"a": "x"}, False),
        ('a!=""', {}, False),
        ('a!=""', {"a": "x"}, True),
        ("a=~x", {"a": "x"}, True),
        ("a=~x", {"a": "xx"}, False),
        ("a=~x|yz", {"a": "yz"}, True),
        ("a=~x|yz", {"a": "xz"}, False),
        ('a=~".*"', {}, True),
        ('a=~".+"', {}, False),
        ('a=~"x.*"', {"a": "x\ny"}, False),
        ('a=~"(?s)x.*"', {"a": "x\ny"}, True),
        ("a=~X", {"a": "x"}, False),
        ('a=~"(?i)X"', {"a": "x"}, True),
        ("a!~x", {"a": "xx"}, True),
        ("a!~x", {"a": "x"}, False),
        ("a!~x", {}, True),
        ("a=~ü.", {"a": "ü🙂"}, True),
    ],
)
def test_a_matcher_holds_for_the_whole_value_and_an_absent_label_is_empty(text, labels, holds):
    assert matching.matches([matching.parse(text)], labels) is holds


def test_all_matchers_have_to_hold():
    matchers = [matching.parse("a=1"), matching.parse("b=2")]
    assert matching.matches(matchers, {"a": "1", "b": "2"})
    assert not matching.matches(matchers, {"a": "1", "b": "3"})


def test_an_expression_made_to_be_slow_is_not():
    matcher = matching.parse('a=~"(x+x+)+y"')
    assert not matching.matches([matcher], {"a": "x" * 10_000})


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=40))
def test_whatever_is_written_is_a_matcher_or_an_error_within_the_text(text):
    result = matching.parse(text)
    if isinstance(result, MatcherError):
        assert 1 <= result.column <= len(text) + 1
        assert result.message


@given(st.text(), st.text())
def test_a_quoted_value_matches_itself_and_only_itself(value, other):
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    matcher = matching.parse(f'name="{quoted}"')
    assert matching.matches([matcher], {"name": value})
    assert matching.matches([matcher], {"name": other}) is (value == other)
