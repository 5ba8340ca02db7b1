"""Small images of one size, held in memory."""
