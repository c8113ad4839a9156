"""Everything durable, behind protocols: the only place with SQL, locks and paths of the state directory."""
