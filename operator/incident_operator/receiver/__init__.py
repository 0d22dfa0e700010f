"""Takes Alertmanager's webhook in: an alert is acknowledged only after it is stored."""
