"""Action spaces: the contract, costs, and spaces that chain others."""
