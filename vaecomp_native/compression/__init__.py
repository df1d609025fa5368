"""Weights into an archive: `pipeline` is the call, and reads from top to bottom.

request     what was asked, checked: weights, target, calibration
suitability which tensors a lossy codec may change
operators   what is quantized together, and what errors in it cost
fit         allocation and search: the operating point that meets the target
candidates  each codec's archive
choice      the one to keep
"""
