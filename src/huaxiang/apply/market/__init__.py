"""Audiences, segments, campaigns.

audiences          language.py: conditions, checked (values.py) and compiled; audiences.py: kept and refreshed (schedule.py); lists.py; alike.py: look-alikes
segments           segments.py: found by their stability; grids.py: recency × frequency, lifecycle moves, pairs; associations.py: rules held; people.py
the desk           market.py: what `Shop.market` gives

who to send what   uplift.py: choose, fit and measure learners (uplift_learners.py, uplift_parts.py, causal_forest.py) by Qini (qini.py);
                   uplift_shop.py: on a shop's own campaigns (uplift_rows.py, redemption.py), kept by uplift_kept.py; experiment.py: on a file of a test
                   campaign_adopt.py: tests that another tool ran, taken in
what it may cost   offers.py: which offer to whom; allocate.py: offers under a budget; policies.py: beside random, propensity-first and send-to-all
campaigns          campaigns.py: plan with a hold-out (holdout.py, consent.py, samples.py), campaign_send.py: export or send,
                   campaign_read.py: treated minus hold-out (sequential.py)
"""
