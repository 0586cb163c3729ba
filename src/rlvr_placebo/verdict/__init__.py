"""The verdict: what is compared, the rules, the judgement, and how often it is wrong."""
