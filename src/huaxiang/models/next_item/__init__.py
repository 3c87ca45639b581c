"""Next item: the exam, and the zoo that takes it.

sequences.py  customers' items in the order of time      splits.py   leave-one-out, and by time
ranking.py    ranks among all items, and what they give   zoo.py      the models by name, saving and loading
popular.py · content.py · neighbours.py · ease.py · als.py   the models without a network; base.py what all promise
"""
