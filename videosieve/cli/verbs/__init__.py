"""One file per verb: what a person may write, checked, handed to the room that does it, and said."""
