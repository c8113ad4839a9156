"""Pages for people: one HTML file each, made from a plan, complete in itself. Never sends, never fetches."""
