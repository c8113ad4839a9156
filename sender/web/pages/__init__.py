"""The templates, the style sheet and the script of the live page."""
