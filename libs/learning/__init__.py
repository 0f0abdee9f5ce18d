"""The learner's mathematics: which exit thresholds closed trades speak for, and how sure that is.

Pure: no I/O, no clock; randomness comes from a seed that the caller hands in. Nothing here decides what is applied: the ledger
does, by `holdfast.domain.thresholds`. In the order in which a proposal is made:

    counterfactual   what other thresholds would have made of a closed trade, through the exit rules themselves
    objective        what a sample of such results is worth
    spsa             descends it
    walk_forward     tries that on later trades than it was learned from, and proposes or says why not
    revert           whether what was applied does worse than what it replaced
    quality          how good the exits were, in numbers for people
"""
