"""From what comes in to what is due: validation, the journal, and the fold."""
