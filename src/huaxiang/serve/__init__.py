"""A shop that lives: `huaxiang serve myshop` collects events, keeps every profile up to date, and answers questions.

wire       what the SDKs of others send → messages of one shape (Segment's)
log        every message on disk before it is acknowledged, once each, sealed
collector  the HTTP endpoints that SDKs send to
map        messages → rows of the five tables
worker     log → states → profiles
app        all of it as one ASGI application; run: the process
"""
