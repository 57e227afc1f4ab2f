"""Techniques that fill the stage `prune`: fewer channels, physically smaller layers."""
