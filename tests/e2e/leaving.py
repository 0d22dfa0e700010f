"""`python -m tests.e2e.leaving`: takes away what all tests on the cluster stand on together, once the last of them is done.

Their own namespaces the tests take away themselves. What stays is what an uninstalled chart leaves: the definitions.
"""

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / part) for part in ("hack/demo", "hack/cluster")]

from demonstration import chart, platform, shell  # noqa: E402
from demonstration import cluster as clusters  # noqa: E402


def leave(cluster: clusters.Cluster) -> None:
    """Uninstall the operator of the tests, and wait until its namespace is gone, and the sample's."""
    chart.uninstall(cluster)
    platform.remove(cluster)
    cluster.kubectl("delete", "namespace", chart.NAMESPACE, "--ignore-not-found", "--wait=true", timeout=120)


def main() -> int:
    """Leave, and say what could not be taken away: that fails no test."""
    try:
        leave(clusters.up())
    except shell.Failure as failure:
        print(f"what the tests installed could not be taken away: {failure}", file=sys.stderr)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
