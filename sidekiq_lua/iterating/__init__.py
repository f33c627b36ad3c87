"""One run of an iterable job."""
