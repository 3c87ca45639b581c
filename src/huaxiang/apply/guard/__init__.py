"""Named risks of orders and customers, with evidence, rules and a review queue."""
