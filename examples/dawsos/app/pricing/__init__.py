"""What the scheduler and the API share: the calendar and the database."""
