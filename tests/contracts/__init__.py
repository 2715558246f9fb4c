"""What every implementation of a protocol promises: a class of tests for each, which all its implementations pass.

An implementation subclasses the class, in a file of its own tests, and says in a fixture how it is made.
"""
