"""What business rules make of a ranking, between the policy and the answer."""
