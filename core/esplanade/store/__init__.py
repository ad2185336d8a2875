"""Where everything durable lives, behind a port that speaks of people, ledgers and deliveries only."""
