"""The ground floor: files one can trust (strict in, atomic out, hashed, chained)."""
