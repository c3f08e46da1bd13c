"""The language: text to checked networks and recipes. The only user of lark."""
