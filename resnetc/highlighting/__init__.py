"""Colours for specs outside the editor: the words of the language and a Pygments lexer."""
