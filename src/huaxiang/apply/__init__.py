"""What one does with a profile: four applications that read profiles, features and models, and know nothing of one another.

recommend/   what to show this customer, here: candidates → one ranker → rules, with reasons that are true
market/      audiences, segments, who to send what (uplift), campaigns and how to read them
predict/     customer lifetime value, purchase intent of a running session, the next purchase, what if
guard/       named risks of orders and customers, with evidence, rules and a review queue

Every decision carries its reasons, its as-of time and the versions of the definition and the model that made it.
"""
