"""What callers send: models that judge in the contract's order and words; the documents are made of them."""
