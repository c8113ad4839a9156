"""Campaign and recipients to a plan: who gets a message, what it says, what it costs and how long it takes."""
