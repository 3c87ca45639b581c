"""What to show this customer, here: candidates → one ranker → rules, with reasons that are true."""
