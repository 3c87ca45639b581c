"""A shop that lives: `huaxiang serve myshop` collects events, keeps every profile up to date, and answers questions.

wire       what the SDKs of others send → messages of one shape (Segment's)
log        every message on disk before it is acknowledged, once each, sealed
collector  the HTTP endpoints that SDKs send to
pull       what is fetched: folders of files, PostgreSQL, Kafka
map        messages → rows of the five tables
worker     log → states → profiles
quarantine what broke the contract: looked at, sent through again
backup     all that a shop needs to live, in one file, and back; archive: that file
doctor     whether a shop is well, and what mends it
app        all of it as one ASGI application; run: the process
"""
