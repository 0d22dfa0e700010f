"""From alerts to Incidents: matching, grouping, episodes, and the spec that holds them."""
