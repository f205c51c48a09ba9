"""From rows and scores to labels, comparisons, verdicts and table formats. No torch."""
