"""What a running shop fetches by itself. Each row becomes one message, and its position moves in the transaction that writes it.

shape       a row, or a message as an SDK would have sent it → messages of the one shape
positions   how far each pull has come, and who may pull
sender      rows → requests of the log, with the position that goes with them
folder      files that arrive in a folder; reading: their rows
postgresql  rows of a table by a rising column
kafka       messages of topics
run         Pullers: a thread each, that begins again after errors
"""
