"""Teachers: models whose answers and distributions the student learns from."""
