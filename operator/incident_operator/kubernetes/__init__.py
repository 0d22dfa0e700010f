"""The one client of the apiserver: who it is, what it asks for, what it watches, and what an error means."""
