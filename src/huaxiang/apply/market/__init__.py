"""Audiences, segments, who to send what (uplift), campaigns and how to read them."""
