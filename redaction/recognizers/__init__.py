"""The rules that find personal values. `registry.build_rules` makes those that a policy asks for."""
