"""Gates"""
NEEDS = {}
