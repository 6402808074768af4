"""The layer between a test and its app: transports, exchanges, lifespan and live servers."""
