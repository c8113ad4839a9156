"""Several processes that send one run together: who starts and watches them, and what each does."""
