"""After the send: what became of accepted messages, by the provider's callbacks and by its log.

Touches only the ledger, and the suppression list for replies. Sends nothing but questions to the provider's log.
`docs/delivery.md` has the rules.
"""
