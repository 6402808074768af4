"""What stands between a test and its application: transport, exchange, lifespan, live servers."""
