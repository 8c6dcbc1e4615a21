"""Which clips there are, what is known about them, and who is held out.

The room turns corpora and manifests into one table, a clip a row, checks it, and splits it by speaker. It does
not decode audio (the check is handed a function that does) and holds no results.
"""
