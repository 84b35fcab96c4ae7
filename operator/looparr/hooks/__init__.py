"""What the chart's hooks run beside the operator, each also a command for people: `release` and `selftest`.

They have accounts, rights and limits of their own, ask the API server by plain calls, and know nothing of turns.
"""
