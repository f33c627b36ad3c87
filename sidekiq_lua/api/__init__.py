"""Looking at what is in Redis."""
