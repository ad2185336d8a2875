"""The way in over HTTP: events, webhooks, and what operators ask."""
