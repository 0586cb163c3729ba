"""What is claimed of RLVR, each as a study and a rule that were written before it was run."""
