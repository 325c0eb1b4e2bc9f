"""The HTTP API and the status page: an optional door to a running agent."""
