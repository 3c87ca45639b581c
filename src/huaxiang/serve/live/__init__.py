"""Profiles that follow the customer: log → states → profiles → audiences → the lake.

layout    the tables of the live profiles
rows      Kept: what the last build knew of each customer; the profiles as they are read
refresh   Refresher: states that changed → profiles, audiences entered and left
past      the events that the lake holds of some customers, for states that are made anew
refill    everything anew after a build
to_lake   the log into the lake, exactly once
check     live against batch, customer by customer
worker    Worker: the thread that does all of it, in turn
"""
