"""A study file becomes a plan, and the plan's cells are trained, observed, attacked and measured."""
