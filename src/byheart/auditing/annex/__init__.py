"""The annex of an audit: which tests were run, and which clauses of public documents speak of such tests."""
