"""From a campaign and a list to a plan: who gets what, who does not and why, what it costs and how long it takes."""
