"""Training the student. Importing this imports torch."""
