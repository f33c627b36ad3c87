"""`worker --processes N`: one supervisor, which loads the code, and the workers that it forks."""
