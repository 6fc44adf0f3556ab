"""What was allowed: the policy model, its loader and the evaluator.

Pure: messages come in as values, decisions and findings go out as values. Files, symlinks and clocks belong
to the caller; the one thing asked of it is the `Resolver` of `engine`.
"""
