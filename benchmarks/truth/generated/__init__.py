"""A laboratory of endpoints composed at random: the truth follows from what they are made of."""
