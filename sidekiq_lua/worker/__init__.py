"""Running jobs: the actors of one worker process."""
