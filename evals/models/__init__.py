"""Models that answer: the protocol and the local Hugging Face model. Importing this imports torch."""
