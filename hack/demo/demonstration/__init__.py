"""The demonstration: RB-01 on a real cluster, told as it happens. Its set-up serves the end-to-end tests too."""
