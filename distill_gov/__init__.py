"""distill-gov: distil a language model, and promote the student only on evidence that a stranger can verify."""
