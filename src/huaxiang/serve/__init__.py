"""A shop that lives: `huaxiang serve myshop` collects events, keeps every profile up to date, and answers questions.

wire       what the SDKs of others send → messages of one shape (Segment's)
log        every message on disk before it is acknowledged, once each, sealed
collector  the HTTP endpoints that SDKs send to
pull       what is fetched: folders of files, PostgreSQL, Kafka
map        messages → rows of the five tables
live       log → states → profiles, and the log into the lake
hooks      audiences entered and left → whoever is to be told
api        what a shop knows, over HTTP: keys, scopes, audit, routes
quarantine what broke the contract: looked at, sent through again
backup     all that a shop needs to live, in one file, and back; archive: that file
doctor     whether a shop is well, and what mends it
beside     what is done beside a server, or without one: the log brought in, live against batch
app        all of it as one ASGI application; run: the process
"""
