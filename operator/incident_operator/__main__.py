"""`python -m incident_operator`: the command line."""

from incident_operator.cli import main

if __name__ == "__main__":
    main()
