"""A report in the formats of other tools: JSON records, JUnit, SARIF, HTML."""
