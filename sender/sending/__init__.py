"""A plan to outcomes: begin or resume a run, claim and submit its messages at the allowed pace, record each answer."""
