"""`looparr demo`: Looparr at work on real parts, with nothing of it simulated but the Arr.

stage.py starts the parts, story.py says what has to be seen, watcher.py sees it through the Kubernetes API,
demo.yaml is what gets applied. Clocks are short by spec only (`warmup: 0s`, `for: 4s`): the code knows no demo.
"""
