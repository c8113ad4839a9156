"""What a person wrote: the campaign file, its values and its price table, read and validated."""
