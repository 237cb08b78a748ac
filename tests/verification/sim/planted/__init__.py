"""Mistakes that somebody might make, planted one at a time: how soon does the simulation see each?"""
