"""WeChat's API as our services call it: tokens, one deadline for everything, verdicts out of one table."""
