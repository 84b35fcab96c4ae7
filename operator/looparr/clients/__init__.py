"""The outside world: one module per system, and the only room that imports an outside system's driver.

Every client takes its clock, its egress policy and its threads from outside, maps whatever goes wrong to
`looparr.errors`, sends a write exactly once, and never puts a key, a password, a query or a body into a message.
"""
