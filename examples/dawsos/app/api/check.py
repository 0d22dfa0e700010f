"""`python3 -m api.check`, inside an api Pod: asks /execute as a client would, and prints what it answered."""

import json
import os
from urllib import error, request

QUESTION = {"pattern_id": "portfolio_overview", "portfolio_id": "test-portfolio-uuid", "inputs": {}}


def main() -> None:
    """Print the status line and the body."""
    headers = {"Authorization": f"Bearer {os.environ['API_TOKEN']}", "Content-Type": "application/json"}
    asked = request.Request("http://localhost:8000/execute", json.dumps(QUESTION).encode(), headers)
    try:
        response = request.urlopen(asked, timeout=10)
    except error.HTTPError as refusal:
        response = refusal
    with response:
        print(f"HTTP {response.status} {response.reason}\n{response.read().decode()}")


if __name__ == "__main__":
    main()
