"""One script a peer: it reads the folder of pictures, trains as its docstring says, and prints one line of JSON (`answer.py`)."""
