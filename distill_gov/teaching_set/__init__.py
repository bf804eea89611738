"""The teaching set: who may come in, what is kept, what the student is taught."""
