"""An audit for continuous integration: its checks as JUnit and as SARIF."""
