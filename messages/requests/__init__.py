"""Request models: they validate in the contract's order and words, and the documents are made of them."""
