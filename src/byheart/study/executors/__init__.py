"""Executors: where the tasks of a study run. Each file is one executor; `_task_futures.py` is shared."""
