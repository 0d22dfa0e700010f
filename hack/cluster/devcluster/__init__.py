"""A Kubernetes cluster for development and tests, on this machine. Standard library only: it runs before any venv exists."""
