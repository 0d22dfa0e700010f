"""How many messages may be on their way in: the one too many is told to come again, and the next one is let in."""

from contextlib import ExitStack

import pytest
from prometheus_client import CollectorRegistry, Gauge

from incident_operator.receiver.metrics import ARRIVING, LoadLimit, OverloadedError


def test_only_so_many_messages_are_on_their_way_in_at_a_time():
    load_limit = LoadLimit(1, 1000, Gauge("in_flight", "posts", registry=CollectorRegistry()))
    with ExitStack() as stack:
        arrivals = [stack.enter_context(load_limit.arrival()) for _ in range(ARRIVING)]
        with pytest.raises(OverloadedError), load_limit.arrival():
            pass
        arrivals[0].arrived()
        stack.enter_context(load_limit.arrival())
