"""What stands in a value's place: one file an operator, and `stand_ins` that picks them for a conversation."""
